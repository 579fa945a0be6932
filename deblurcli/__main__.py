from __future__ import annotations

from deblurcli.cli import main

main()

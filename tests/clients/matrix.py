"""The clips of the suite as data: how each is made by the ``ffmpeg`` program, and which files each is restored into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

SIZE = "96x64"
FRAMES = 12
SECONDS = 0.48
"""Length of the sound beside 12 pictures at 25 a second."""


@dataclass(frozen=True)
class Part:
    """What a property of a clip adds to the command line of ``ffmpeg``.

    ``{a}``, ``{b}`` stand for the numbers of its inputs, ``{files}`` for the folder of small files beside the clips.
    """

    output: str = ""
    inputs: str = ""
    filters: str = ""
    patch: str = ""
    """A name in :mod:`tests.clients.patches`: what this ``ffmpeg`` cannot write is put into the file afterwards."""


X265 = "-c:v libx265 -x265-params log-level=none"
CODECS: dict[str, str] = {
    "h264": "-c:v libx264 -crf 18 -bf 2",
    "h264-intra": "-c:v libx264 -crf 18 -g 1",
    "h264-lossless": "-c:v libx264 -qp 0",
    "h264rgb": "-c:v libx264rgb -crf 18",
    "hevc": f"{X265}:bframes=2",
    "hevc-hvc1": f"{X265}:bframes=2 -tag:v hvc1",
    "mpeg4": "-c:v mpeg4 -q:v 3 -bf 2",
    "mpeg4-plain": "-c:v mpeg4 -q:v 3",
    "mpeg2": "-c:v mpeg2video -q:v 3 -bf 2",
    "mpeg1": "-c:v mpeg1video -q:v 3",
    "msmpeg4": "-c:v msmpeg4 -q:v 3",
    "wmv2": "-c:v wmv2 -q:v 3",
    "flv1": "-c:v flv -q:v 3",
    "vp8": "-c:v libvpx -b:v 1M",
    "vp9": "-c:v libvpx-vp9 -crf 20 -b:v 0 -cpu-used 8",
    "av1": "-c:v libsvtav1 -preset 12 -crf 20",
    "prores": "-c:v prores_ks -profile:v standard",
    "prores-hq": "-c:v prores_ks -profile:v hq",
    "prores-4444": "-c:v prores_ks -profile:v 4444",
    "dnxhr-hq": "-c:v dnxhd -profile:v dnxhr_hq -s 256x144",
    "dnxhr-444": "-c:v dnxhd -profile:v dnxhr_444 -s 256x144",
    "dnxhr-hqx": "-c:v dnxhd -profile:v dnxhr_hqx -s 256x144",
    "ffv1": "-c:v ffv1 -level 3",
    "huffyuv": "-c:v huffyuv",
    "ffvhuff": "-c:v ffvhuff",
    "utvideo": "-c:v utvideo",
    "magicyuv": "-c:v magicyuv",
    "qtrle": "-c:v qtrle",
    "png": "-c:v png",
    "mjpeg": "-c:v mjpeg -q:v 3",
    "rawvideo": "-c:v rawvideo",
    "theora": "-c:v libtheora -q:v 7",
    "gif": "-c:v gif",
    "dv": "-c:v dvvideo -s 720x576",
    "cinepak": "-c:v cinepak",
    "jpeg2000": "-c:v jpeg2000",
    "snow": "-c:v snow -strict experimental",
}

SINE = "-f lavfi -i sine=frequency={hertz}:sample_rate=48000:duration=0.48"
TONE, TONES = SINE.format(hertz=440), f"{SINE.format(hertz=440)} {SINE.format(hertz=880)}"
TWO = "-map {a}:a -map {b}:a"
ENDING = "settb=1/1000,setpts='"
PASS = "-fps_mode passthrough -enc_time_base 1:1000"
PARTS: dict[str, Part] = {
    "plain": Part(),
    # Streams beside the pictures.
    "aac": Part("-map {a}:a -c:a aac", TONE),
    "mp2": Part("-map {a}:a -c:a mp2", TONE),
    "mp3": Part("-map {a}:a -c:a libmp3lame", TONE),
    "pcm": Part("-map {a}:a -c:a pcm_s16le", TONE),
    "opus": Part("-map {a}:a -c:a libopus", TONE),
    "vorbis": Part("-map {a}:a -c:a libvorbis", TONE),
    "flac": Part("-map {a}:a -c:a flac", TONE),
    "ac3": Part("-map {a}:a -c:a ac3", TONE),
    "amr": Part("-map {a}:a -c:a libopencore_amrnb -ar 8000 -ac 1", TONE),
    "two-aac": Part(
        f"{TWO} -c:a aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra -metadata:s:a:1 title=Commentary"
        " -disposition:a:0 default -disposition:a:1 comment",
        TONES,
    ),
    "two-mp2": Part(f"{TWO} -c:a mp2 -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra", TONES),
    "two-opus": Part(
        f"{TWO} -c:a libopus -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra -disposition:a:1 0", TONES
    ),
    "impaired": Part(
        f"{TWO} -c:a aac -disposition:a:0 default -disposition:a:1 hearing_impaired+visual_impaired"
        " -metadata:s:a:1 language=deu",
        TONES,
    ),
    "late-sound": Part("-map {a}:a -c:a aac", f"-itsoffset 0.25 {TONE}"),
    "srt": Part("-map {a}:s -c:s subrip -metadata:s:s:0 language=deu", "-i {files}/words.srt"),
    "srt-forced": Part(
        "-map {a}:s -c:s subrip -metadata:s:s:0 language=deu -metadata:s:s:0 title=Signs -disposition:s:0 forced",
        "-i {files}/words.srt",
    ),
    "mov-text": Part("-map {a}:s -c:s mov_text -metadata:s:s:0 language=deu", "-i {files}/words.srt"),
    "ass": Part("-map {a}:s -c:s ass -metadata:s:s:0 language=jpn", "-i {files}/words.srt"),
    "webvtt": Part("-map {a}:s -c:s webvtt -metadata:s:s:0 language=ita", "-i {files}/words.srt"),
    "chapters": Part("-map_chapters {a}", "-f ffmetadata -i {files}/chapters.txt"),
    "font": Part("-attach {files}/font.ttf -metadata:s:t:0 mimetype=application/x-truetype-font"),
    "cover-mkv": Part("-attach {files}/cover.jpg -metadata:s:t:0 mimetype=image/jpeg"),
    "cover-mp4": Part("-map {a}:v -c:v:1 copy -disposition:v:1 attached_pic", "-i {files}/cover.jpg"),
    "cover-png": Part("-map {a}:v -c:v:1 copy -disposition:v:1 attached_pic", "-i {files}/cover.png"),
    "timecode": Part("-timecode 01:02:03:04"),
    "timecode-drop": Part("-timecode 01:02:03;04"),
    "data": Part("-map {a}:d -c:d copy", "-f data -i {files}/data.bin"),
    "second-video": Part(
        "-map {a}:v -metadata:s:v:1 title=Other -metadata:s:v:1 language=ita -disposition:v:1 0",
        f"-f lavfi -i mandelbrot=s={SIZE}:r=25,trim=end_frame=12",
    ),
    "programs": Part("-program title=One:st=0:st=1 -program title=Two:st=0"),
    # Times.
    "ntsc": Part("-r 30000/1001"),
    "film": Part("-r 24000/1001"),
    "fast": Part("-r 120"),
    "vfr": Part(PASS, filters=f"{ENDING}N*40+mod(N*N*7,23)'"),
    "vfr-gap": Part(PASS, filters=f"{ENDING}N*33+if(gt(N,5),700,0)'"),
    "long-end": Part(PASS, filters=f"{ENDING}N*40+if(eq(N,11),1500,0)'"),
    "long-last": Part("-bsf:v setts=duration=DURATION*(1+19*floor(N/11))"),
    "offset": Part("-output_ts_offset 0.5 -avoid_negative_ts disabled"),
    "hour": Part("-output_ts_offset 3600 -avoid_negative_ts disabled"),
    "negative": Part("-output_ts_offset -0.2 -avoid_negative_ts disabled"),
    "one-frame": Part("-frames:v 1"),
    "small-clock": Part("-video_track_timescale 90000"),
    "faststart": Part("-movflags +faststart"),
    "fragments": Part("-movflags +frag_keyframe+empty_moov"),
    # Shape.
    "sar": Part(filters="setsar=16/11"),
    "sar-narrow": Part(filters="setsar=8/9"),
    "rotate-90": Part("-metadata:s:v:0 rotate=90"),
    "rotate-180": Part("-metadata:s:v:0 rotate=180"),
    "rotate-270": Part("-metadata:s:v:0 rotate=270"),
    "mirrored": Part(patch="mirrored"),
    "aperture": Part(patch="aperture"),
    "odd": Part(filters="scale=95:63"),
    "top-first": Part("-flags +ildct+ilme -top 1 -field_order tt", filters="setfield=tff"),
    "bottom-first": Part("-flags +ildct+ilme -top 0 -field_order bb", filters="setfield=bff"),
    "top-first-h264": Part("-x264-params tff=1 -flags +ildct+ilme", filters="setfield=tff"),
    "bottom-first-h264": Part("-x264-params bff=1 -flags +ildct+ilme", filters="setfield=bff"),
    # Colour.
    "bt709": Part("-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"),
    "bt601": Part("-color_primaries smpte170m -color_trc smpte170m -colorspace smpte170m -color_range tv"),
    "pal": Part("-color_primaries bt470bg -color_trc gamma28 -colorspace bt470bg -color_range tv"),
    "p3": Part("-color_primaries smpte432 -color_trc bt709 -colorspace bt709 -color_range tv"),
    "full": Part("-color_range pc -colorspace bt709", filters="scale=out_range=pc"),
    "matrix-only": Part("-colorspace bt709"),
    "pq": Part("-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv"),
    "hlg": Part("-color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -color_range tv"),
    "site-topleft": Part("-chroma_sample_location topleft"),
    "site-center": Part("-chroma_sample_location center"),
    # Side data.
    "hdr10": Part(
        "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv -x265-params"
        " log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400"
        ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    ),
    "captions": Part("-bf 0", patch="captions"),
    "spherical": Part(patch="spherical"),
    "dovi": Part(patch="dovi"),
    "ambient": Part(patch="ambient"),
    "stereo-left-right": Part("-metadata:s:v:0 stereo_mode=left_right"),
    "stereo-top-bottom": Part("-metadata:s:v:0 stereo_mode=top_bottom"),
    "alpha-mode": Part("-auto-alt-ref 0 -metadata:s:v:0 alpha_mode=1"),
    # Tags.
    "title": Part("-metadata title=Ein_Titel -metadata artist=Somebody -metadata comment=Words"),
    "free-tags": Part("-metadata title=T -metadata SHUTTER=1/50 -metadata LOCATION_NAME=Köln"),
    "free-tags-mp4": Part("-movflags use_metadata_tags -metadata title=T -metadata com.example.shutter=1/50"),
    "date": Part("-metadata creation_time=2021-05-06T07:08:09.000000Z"),
    "place": Part("-metadata location=+48.8577+002.2950/"),
    "track-tags": Part(
        "-metadata:s:v:0 language=deu -metadata:s:v:0 title=Kamera -metadata:s:v:0 handler_name=Kamera"
        " -metadata:s:v:0 creation_time=2021-05-06T07:08:09.000000Z"
    ),
    "not-default": Part("-disposition:v:0 0"),
    "service": Part("-metadata service_name=Station -metadata service_provider=House"),
    "pids": Part("-streamid 0:512 -streamid 1:513"),
}

MATRIX = """
# containers     | codecs                          | layouts                      | parts of the clip (+ joins)    | outputs
mp4 mov mkv      | h264 hevc mpeg4                 | yuv420p                      | aac                            | =
mp4 mov mkv      | h264                            | yuv422p yuv444p yuv420p10le yuv422p10le gray | plain          | =
mp4 mkv          | hevc                            | yuv422p yuv444p yuv420p10le yuv420p12le yuv444p12le gbrp gray | plain | =
mp4 mov          | hevc-hvc1                       | yuv420p yuv420p10le          | plain aac                      | =
mp4 mkv          | h264rgb                         | rgb24                        | plain                          | =
mp4 mkv webm     | av1                             | yuv420p yuv420p10le          | plain                          | =
webm mkv         | vp9                             | yuv420p yuv422p yuv444p yuv420p10le yuv420p12le gbrp | opus   | =
mp4              | vp9                             | yuv420p yuv420p10le          | aac                            | =
webm mkv         | vp8                             | yuv420p                      | vorbis                         | =
webm             | vp8 vp9                         | yuva420p                     | alpha-mode                     | =
mov mkv          | prores prores-hq                | yuv422p10le                  | pcm                            | =
mov mkv          | prores-4444                     | yuv444p10le yuva444p10le     | pcm                            | =
mov              | dnxhr-hq                        | yuv422p                      | pcm                            | = mkv
mov              | dnxhr-444                       | yuv444p10le                  | pcm                            | =
mov              | dnxhr-hqx                       | yuv422p10le                  | pcm                            | =
mkv nut avi      | ffv1                            | yuv420p yuv422p yuv444p yuv420p10le bgra gray | plain         | =
mkv              | ffv1                            | yuva420p yuv422p10le yuv444p12le gray16le gbrp10le gbrap12le yuva444p10le | flac | =
avi mkv nut      | huffyuv                         | yuv422p bgra                 | pcm                            | =
avi mkv nut      | ffvhuff                         | yuv420p yuv444p10le          | pcm                            | =
avi mkv nut      | utvideo                         | yuv420p yuv422p gbrp gbrap   | pcm                            | =
avi mov nut      | magicyuv                        | yuv444p gbrp                 | plain                          | =
mov              | qtrle                           | rgb24 argb gray              | pcm                            | = mkv
mov avi mkv      | png                             | rgb24 rgba gray              | plain                          | =
mov avi mkv nut  | mjpeg                           | yuvj420p yuvj422p yuvj444p   | pcm                            | =
mov avi nut      | rawvideo                        | yuv420p rgb24 yuyv422        | plain                          | =
avi              | mpeg4-plain msmpeg4 h264        | yuv420p                      | mp3                            | =
mkv              | mpeg1 mpeg2 msmpeg4 wmv2 theora cinepak jpeg2000 snow | yuv420p | plain                         | =
mpg              | mpeg2 mpeg1                     | yuv420p                      | mp2 two-mp2                    | =
mpg              | mpeg2                           | yuv420p                      | mp2+sar ntsc+mp2 film top-first bt601 | =
ts               | h264 hevc mpeg2                 | yuv420p                      | aac mp2 two-aac ac3            | =
m2ts             | h264                            | yuv420p                      | ac3                            | =
ts m2ts          | h264                            | yuv420p                      | aac+offset ntsc+aac bt709 sar  | =
ts               | h264                            | yuv420p                      | aac+service aac+pids data aac+programs hour captions top-first-h264 | =
flv              | h264 flv1                       | yuv420p                      | aac mp3                        | =
flv              | h264                            | yuv420p                      | vfr+aac sar+aac title+aac      | =
3gp              | h264 mpeg4-plain                | yuv420p                      | aac amr                        | =
nut              | h264 mpeg4 vp9                  | yuv420p                      | mp3 vfr negative title two-mp2 | =
# times
mp4 mov mkv      | h264 hevc                       | yuv420p                      | ntsc film vfr vfr-gap long-end offset | =
mp4 mov mkv      | h264                            | yuv420p                      | vfr+aac long-end+aac fast hour negative one-frame late-sound ntsc+late-sound | =
mp4 mov          | h264-intra                      | yuv420p                      | long-last long-last+aac vfr    | =
mp4 mov          | mpeg4 mpeg4-plain               | yuv420p                      | vfr ntsc offset                | =
mp4 mov          | h264                            | yuv420p                      | small-clock fragments+aac faststart+aac vfr+small-clock | =
webm             | vp9 vp8                         | yuv420p                      | vfr ntsc offset long-end       | =
mkv              | ffv1 mpeg2 mjpeg                | yuv422p                      | vfr ntsc                       | =
mov              | prores                          | yuv422p10le                  | vfr ntsc film offset           | =
avi              | mpeg4-plain                     | yuv420p                      | ntsc film                      | =
# shape
mp4 mov mkv      | h264 mpeg4                      | yuv420p                      | sar sar-narrow                 | =
mp4 mov          | h264 hevc                       | yuv420p                      | rotate-90 rotate-180 rotate-270 mirrored aperture | =
webm mkv         | vp9                             | yuv420p                      | sar                            | =
mp4 mov mkv      | h264                            | yuv444p                      | odd                            | =
mkv              | ffv1                            | yuv420p                      | odd sar                        | =
mp4 mkv          | h264                            | yuv420p                      | top-first-h264 bottom-first-h264 | =
mkv mov          | mpeg2                           | yuv422p                      | top-first bottom-first         | =
mov              | prores                          | yuv422p10le                  | top-first sar bt709            | =
avi              | ffv1 mjpeg                      | yuv422p                      | sar                            | =
# colour
mp4 mov mkv      | h264                            | yuv420p                      | bt709 bt601 pal p3 full matrix-only | =
mp4 mkv          | hevc                            | yuv420p10le                  | pq hlg hdr10 site-topleft site-center | =
webm             | vp9                             | yuv420p10le                  | bt709 pq hlg                   | =
mp4 mkv          | av1                             | yuv420p10le                  | bt709 pq hlg                   | =
mkv              | ffv1                            | yuv422p10le                  | bt709 full pq                  | =
mov              | hevc-hvc1                       | yuv420p10le                  | hlg hdr10                      | =
# streams
mkv              | h264                            | yuv420p                      | two-aac impaired srt srt-forced ass webvtt chapters font cover-mkv second-video two-aac+srt+chapters+font | =
mp4              | h264                            | yuv420p                      | two-aac impaired mov-text chapters cover-mp4 cover-png second-video two-aac+mov-text+chapters | =
mov              | h264                            | yuv420p                      | two-aac mov-text chapters timecode timecode+aac second-video pcm | =
mp4              | h264                            | yuv420p                      | timecode timecode+aac          | =
mov              | h264                            | yuv420p                      | timecode-drop+ntsc             | =
mov              | prores                          | yuv422p10le                  | timecode+pcm                   | =
webm             | vp9                             | yuv420p                      | two-opus webvtt chapters+opus title | =
# side data
mp4 mov mkv      | h264                            | yuv420p                      | captions                       | =
mp4 mov          | h264                            | yuv420p                      | spherical                      | =
mp4 mov          | hevc-hvc1                       | yuv420p10le                  | dovi ambient                   | =
mkv webm         | vp9                             | yuv420p                      | stereo-left-right stereo-top-bottom | =
# tags
mp4 mov mkv      | h264                            | yuv420p                      | title free-tags date place track-tags not-default title+cover-mp4+aac | =
mp4 mov          | h264                            | yuv420p                      | free-tags-mp4                  | =
avi              | mpeg4-plain                     | yuv420p                      | title                          | =
3gp              | h264                            | yuv420p                      | title rotate-90                | =
# other containers than the input's
mp4              | h264                            | yuv420p                      | aac vfr offset two-aac mov-text chapters rotate-90 sar cover-mp4 title timecode | mkv
mp4              | h264                            | yuv420p                      | aac vfr rotate-90 sar chapters | mov
mp4              | h264                            | yuv420p                      | aac vfr two-aac                | ts
mkv              | h264                            | yuv420p                      | aac vfr srt ass chapters font cover-mkv two-aac free-tags bt709 | mp4
mov              | h264                            | yuv420p                      | aac pcm timecode rotate-90     | mp4 mkv
mov              | prores                          | yuv422p10le                  | pcm                            | mp4
mkv              | hevc                            | yuv420p10le                  | hdr10 aac                      | mp4
mkv              | ffv1                            | yuv420p                      | flac                           | mp4 mov
webm             | vp9                             | yuv420p                      | opus                           | mp4 mkv
ts               | h264                            | yuv420p                      | aac two-aac                    | mp4 mkv
mpg              | mpeg2                           | yuv420p                      | mp2 film                       | mkv mp4
avi              | mpeg4-plain                     | yuv420p                      | mp3                            | mp4 mkv
flv              | h264                            | yuv420p                      | aac                            | mp4
gif              | gif                             | rgb8                         | plain                          | mp4 mkv webm
mxf              | mpeg2                           | yuv422p                      | plain                          | mkv mov
mxf              | dnxhr-hq                        | yuv422p                      | pcm+timecode                   | mov mkv
ogv              | theora                          | yuv420p                      | vorbis                         | mkv
asf              | wmv2                            | yuv420p                      | mp3                            | mkv
dv               | dv                              | yuv420p                      | plain                          | mkv mov
"""  # noqa: E501


@dataclass(frozen=True)
class Clip:
    """One clip to make."""

    suffix: str
    codec: str
    layout: str
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.codec}_{self.layout}_{'+'.join(self.parts)}.{self.suffix}"


@dataclass(frozen=True)
class Row:
    """One clip, restored into one kind of file."""

    clip: Clip
    output: str

    @property
    def name(self) -> str:
        return f"{self.clip.name}-to-{self.output}"


def rows() -> list[Row]:
    """The matrix, written out."""
    return list(dict.fromkeys(_expanded(MATRIX)))


def _expanded(table: str) -> Iterator[Row]:
    for line in table.strip().splitlines():
        if line.startswith("#"):
            continue
        suffixes, codecs, layouts, parts, outputs = (cell.split() for cell in line.split("|"))
        for suffix, codec, layout, joined, output in product(suffixes, codecs, layouts, parts, outputs):
            yield Row(Clip(suffix, codec, layout, tuple(joined.split("+"))), suffix if output == "=" else output)

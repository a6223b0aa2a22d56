from typing import TypedDict

class _FrameInfo(TypedDict):
    content_size: int

class LZ4FrameDecompressor:
    eof: bool
    unused_data: bytes | None

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...

def compress(data: bytes, *, content_checksum: bool = ...) -> bytes: ...
def get_frame_info(frame: bytes) -> _FrameInfo: ...

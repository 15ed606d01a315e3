//! Segments of eth-stream: messages cut into interleaved pieces.

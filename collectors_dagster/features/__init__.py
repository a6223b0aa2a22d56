"""What models see: signals made of delivered series, and features made of signals. Arrays in, arrays out; no I/O."""

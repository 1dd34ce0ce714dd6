"""Encoders: image tensor -> EncoderFeatures. One file per family."""

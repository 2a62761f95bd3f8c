"""Streams: the Faust app that cleans raw trains and routes them on."""

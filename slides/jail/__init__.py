"""Isolated decoding: the bytes of a slide that nobody vouches for meet native decoders only in a disposable process.

One child process a slide, forked from a single-threaded ancestor (`zygote`) that has everything imported; the child
gives up all it does not need (`confine`), then opens the slide. Requests are JSON over socket pairs (`wire`), pixels
come through sealed shared memory (`slots`). `slide` has what the rest of the program sees: a `Slide` like any other.
"""

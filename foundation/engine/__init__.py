"""Many slides through one or several encoders, with a device that never waits for a slide to end.

::

    slides ──► reading: the next ones are opened and segmented      ─┐
               while one is cut, by threads that all share           │ batcher: batches of one
               (turns.py, reading.py)                               ─┘ shape, of any slides
                                                                       │ (batcher.py)
    stores ◄── writing: one thread commits a slide ◄── sheets ◄──── lanes: a device each
               while others are encoded (run.py)       (sheet.py)      (lane.py, device.py, cuda.py)

A bounded number of batches exists, so memory is bounded; a reader waits for an empty one. Only the last batch of a run
is filled up. What became of a slide never depends on the others: an error of its own fails it alone.
"""

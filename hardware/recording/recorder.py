"""Recording every image that a camera hands over, in a file that survives whatever ends the recording."""

from collections.abc import Callable

from hardware.camera import Camera
from hardware.recording.order import Onlooker, Order, Progress
from hardware.recording.session import Session
from noise_model.interrupts import noted_signals

#: s between two looks at a recording.
LOOK_PERIOD = 0.1


def record(
    camera: Camera,
    order: Order,
    look: Callable[[Progress], None] = lambda progress: None,
    onlooker: Onlooker | None = None,
) -> Progress:
    """Records until the order is done, the camera ends, something fails, or a signal asks to stop, such as Ctrl-C.

    One thread takes images from the camera, another writes them. The caller's thread only looks on, so that an
    interrupt never comes in the middle of a write.

    Args:
        camera: an open camera; it is configured here.
        order: what to record.
        look: called with the progress ten times a second.
        onlooker: shown every image on its way to the disk.

    Returns:
        The state at the end: `whole`, or with a `failure`, which is noted in the file as well.

    Raises:
        InputError: nothing could be recorded, or the disk has no room for the images ordered.
    """
    session = Session(camera, order.settings, reconnect=order.reconnect)
    if onlooker is not None:
        session.attach(onlooker)
    recording = session.record(order, and_end=True)
    with noted_signals() as interrupted:
        session.start()
        try:
            while not (recording.wait(LOOK_PERIOD) or interrupted()):
                look(recording.progress())
            if interrupted():
                recording.end()
        except KeyboardInterrupt:  # outside the main thread, which alone may note signals, or out of `look`
            recording.end()
        finally:  # even where the terminal that `look` writes to is gone
            session.stop()
            recording.wait()
    return recording.outcome()

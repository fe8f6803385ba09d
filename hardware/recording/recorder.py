"""Recording every image that a camera hands over, in a file that survives whatever ends the recording."""

from collections.abc import Callable
from threading import Thread

from hardware.camera import Camera, smallest_dtype
from hardware.hdf5.nexus_tree import unfinished_name
from hardware.recording.camera_side import CameraSide
from hardware.recording.disk_side import DiskSide
from hardware.recording.order import Onlooker, Order, Pipe, Progress
from noise_model.files import require_room
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
    unfinished_name(order.path)
    pipe, applied = Pipe(), camera.configure(order.settings)
    if order.images is not None and order.compression == "none":
        pixels = camera.shape[0] * camera.shape[1] * smallest_dtype(applied.saturation_value).itemsize
        require_room(order.path, order.images * pixels)
    if onlooker is not None:
        onlooker.begin(applied)
    source, disk = CameraSide(camera, applied, order, pipe, onlooker), DiskSide(camera, applied, order, pipe)
    threads = [Thread(target=each.run, daemon=True) for each in (source, disk)]
    with noted_signals() as interrupted:
        for thread in threads:
            thread.start()
        try:
            while not (pipe.done.wait(LOOK_PERIOD) or interrupted()):
                look(disk.progress())
            pipe.interrupted = bool(interrupted())
        except KeyboardInterrupt:  # outside the main thread, which alone may note signals, or out of `look`
            pipe.interrupted = True
        finally:  # even where the terminal that `look` writes to is gone
            pipe.ending.set()
            camera.stop()
            for thread in threads:
                thread.join()
    if disk.error is not None:
        raise disk.error
    return disk.progress()

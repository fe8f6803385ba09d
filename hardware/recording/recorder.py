"""Recording: every image a camera hands over, in a file that survives whatever ends the recording."""

from collections.abc import Callable
from threading import Thread

from hardware.camera import Camera
from hardware.hdf5.nexus_tree import unfinished_name
from hardware.recording.camera_side import CameraSide
from hardware.recording.disk_side import DiskSide
from hardware.recording.order import Onlooker, Order, Pipe, Progress

#: s between two looks at a recording.
GLANCE = 0.1


def record(
    camera: Camera,
    order: Order,
    look: Callable[[Progress], None] = lambda progress: None,
    onlooker: Onlooker | None = None,
) -> Progress:
    """Records until the order is done, the camera ends, something fails, or the user interrupts (Ctrl-C).

    One thread takes images from the camera, another writes them. The caller's only looks on, so that an interrupt never
    comes in the middle of a write.

    Args:
        camera: entered; it is configured here.
        order: what to record.
        look: called ten times a second.
        onlooker: is shown every image on its way to the disk.

    Returns:
        How it ended: `whole`, or with `failure`, which the file says as well.

    Raises:
        InputError: nothing could be recorded.
    """
    unfinished_name(order.path)
    pipe, applied = Pipe(), camera.configure(order.settings)
    if onlooker is not None:
        onlooker.begin(applied)
    source, disk = CameraSide(camera, applied, order, pipe, onlooker), DiskSide(camera, applied, order, pipe)
    threads = [Thread(target=each.run, daemon=True) for each in (source, disk)]
    for thread in threads:
        thread.start()
    try:
        while not pipe.done.wait(GLANCE):  # not join, which takes a thread for ended when it is interrupted
            look(disk.progress())
    except KeyboardInterrupt:
        pipe.interrupted = True
    pipe.ending.set()
    camera.stop()
    for thread in threads:
        thread.join()
    if disk.error is not None:
        raise disk.error
    return disk.progress()

// Pointing at a panel: dragging, two fingers and the wheel move and zoom what is seen; a drag may draw a region instead.

const WHEEL_STEP = 1.25;

/** Listens to what points at `panel`.
 *
 * `act` {draws(event), draw(from, to), drawn(), zoom(factor, place), shift(x, y), point(place)}: places and shifts are
 * shares of the field; `draws` says whether a drag that begins draws; `point` is told null where nothing points.
 */
export function listen(panel, view, act) {
  const { canvas } = panel;
  const down = new Map(); // fingers, or the mouse, that are down: where on the page
  let grip = null;
  const place = ({ clientX, clientY }) => panel.place(view, clientX, clientY);

  canvas.addEventListener("pointerdown", (event) => {
    if (!panel.picture) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    grip = down.size === 1 ? { place: place(event), draws: act.draws(event) } : null;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!panel.picture) return;
    if (down.size === 2 && down.has(event.pointerId)) {
      const before = spread(down);
      down.set(event.pointerId, event);
      const after = spread(down);
      act.zoom(after.distance / before.distance, place(before));
      const [from, to] = [place(before), place(after)];
      act.shift(from.x - to.x, from.y - to.y);
    } else if (grip?.draws) act.draw(grip.place, place(event));
    else if (grip) act.shift(grip.place.x - place(event).x, grip.place.y - place(event).y);
    act.point(place(event));
  });
  const released = (event) => {
    down.delete(event.pointerId);
    if (grip?.draws) act.drawn();
    grip = null;
  };
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("pointerleave", () => act.point(null));
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!panel.picture) return;
      event.preventDefault();
      act.zoom(event.deltaY < 0 ? WHEEL_STEP : 1 / WHEEL_STEP, place(event));
    },
    { passive: false },
  );
}

/** The place between two fingers, and how far they are apart. */
function spread(down) {
  const [one, other] = [...down.values()];
  const distance = Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  return { clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2, distance: Math.max(distance, 1) };
}

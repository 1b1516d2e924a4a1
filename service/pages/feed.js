// The feed: cards packed into columns in the order of their ranks.

const STEP = 4; // height of a row of the grid in pixels, as in style.css

/** Keep a feed packed: each card spans the rows that its height needs.
 *
 * The grid places a card where the next column is free, so reading and tab order stay the order of
 * ranks. Without this script the cards stand in plain rows.
 */
export function packed(feed) {
  const watch = new ResizeObserver((entries) => {
    feed.classList.add("packed");
    for (const { target } of entries) {
      const rows = Math.ceil(target.getBoundingClientRect().height / STEP);
      if (rows) target.parentElement.style.gridRowEnd = `span ${rows}`;
    }
  });
  return {
    clear() {
      watch.disconnect();
      feed.replaceChildren();
    },
    add(cards) {
      feed.append(...cards);
      for (const card of cards) watch.observe(card.firstElementChild);
    },
  };
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { CELLS, CELL_WIDTH, WIDTH, decodeClock, encodeClock } from "../support/clock-pattern.mjs";

const NOW = 1_795_333_333_123;

test("a time written as cells is read back, also across the 32-bit turn", () => {
  assert.ok(CELLS * CELL_WIDTH <= WIDTH);
  const turn = Math.ceil(NOW / 2 ** 32) * 2 ** 32;
  for (const time of [NOW, NOW - 250, turn - 1, turn, turn + 1]) {
    const cells = encodeClock(time);
    assert.equal(cells.length, CELLS);
    assert.equal(decodeClock(cells, time + 400), time);
  }
});

test("a row with any one cell wrong is not taken for a time", () => {
  const cells = encodeClock(NOW);
  for (let i = 0; i < CELLS; i += 1) {
    const wrong = cells.slice(0, i) + (cells[i] === "1" ? "0" : "1") + cells.slice(i + 1);
    assert.equal(decodeClock(wrong, NOW), undefined, `cell ${i}`);
  }
});

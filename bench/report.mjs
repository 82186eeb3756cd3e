import { median, spread } from "./statistics.mjs";

/**
 * One line of the result.
 *
 * @typedef {object} Row
 * @property {string} broker
 * @property {string} name
 * @property {string} unit of `value` and `baseline`
 * @property {import("./statistics.mjs").Spread} value
 * @property {import("./statistics.mjs").Spread} baseline
 * @property {"ratio" | "difference" | "value"} compared what `target` is about; `ratio` and `difference`: to the baseline
 * @property {import("./statistics.mjs").Spread} result
 * @property {{ atMost: number } | { atLeast: number } | undefined} target
 * @property {boolean | undefined} reached undefined without a target
 */

/**
 * @param {Pick<Row, "broker" | "name" | "unit" | "compared" | "target">} what
 * @param {readonly number[]} values
 * @param {readonly number[]} baselines taken in the same rounds
 * @returns {Row}
 */
export function row(what, values, baselines) {
  const result = spread(
    values.map((value, round) => {
      const baseline = baselines[round] ?? Number.NaN;
      if (what.compared === "ratio") return value / baseline;
      return what.compared === "difference" ? value - baseline : value;
    }),
  );
  return { ...what, value: spread(values), baseline: spread(baselines), result, reached: isReached(what, result) };
}

/** @param {Pick<Row, "target">} what @param {import("./statistics.mjs").Spread} result */
function isReached({ target }, result) {
  if (!target) return undefined;
  return "atMost" in target ? result.median <= target.atMost : result.median >= target.atLeast;
}

/** @param {number} value */
const digits = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3, useGrouping: false });

/** @param {import("./statistics.mjs").Spread} values */
const withSpread = (values) => `${digits(values.median)} (${digits(values.min)}-${digits(values.max)})`;

/** @param {Row} row */
function resultOf({ compared, result, unit }) {
  if (compared === "ratio") return `x ${withSpread(result)}`;
  return compared === "difference" ? `${withSpread(result)} ${unit} more` : `${withSpread(result)} ${unit}`;
}

/** @param {Row} row */
function targetOf({ target, compared, unit }) {
  if (!target) return "";
  const bound = "atMost" in target ? `<= ${target.atMost}` : `>= ${target.atLeast}`;
  return compared === "ratio" ? `x ${bound}` : `${bound} ${unit}`;
}

/** @param {readonly Row[]} rows */
export function table(rows) {
  const cells = [
    ["broker", "what", "worker-host", "baseline", "compared", "target", "reached"],
    ...rows.map((each) => [
      each.broker,
      each.name,
      `${withSpread(each.value)} ${each.unit}`,
      `${withSpread(each.baseline)} ${each.unit}`,
      resultOf(each),
      targetOf(each),
      each.reached === undefined ? "" : each.reached ? "yes" : "NO",
    ]),
  ];
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0))) ?? [];
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/**
 * @param {string} broker
 * @param {Awaited<ReturnType<typeof import("./speed.mjs").measureSpeed>>} speed
 * @returns {Row[]}
 */
export function speedRows(broker, { p50, p99, throughput }) {
  /** @type {{ broker: string, compared: "ratio" }} */
  const common = { broker, compared: "ratio" };
  return [
    row({ ...common, name: "ping, 1 in flight, p50", unit: "ms", target: { atMost: 1.25 } }, p50.worker, p50.bare),
    row({ ...common, name: "ping, 1 in flight, p99", unit: "ms", target: undefined }, p99.worker, p99.bare),
    row(
      { ...common, name: "ping, 64 in flight", unit: "/s", target: { atLeast: 0.8 } },
      throughput.worker,
      throughput.bare,
    ),
  ];
}

/**
 * @param {string} broker
 * @param {Awaited<ReturnType<typeof import("./start-up.mjs").measureStarts>>} starts
 * @returns {Row[]}
 */
export function startRows(broker, { many, none }) {
  const memory = (/** @type {typeof many} */ starts) => starts.flatMap(({ mb }) => (mb === undefined ? [] : [mb]));
  const rows = [
    row(
      { broker, name: "npm start, 200 online", unit: "ms", compared: "value", target: { atMost: 2_000 } },
      many.map(({ ms }) => ms),
      none.map(({ ms }) => ms),
    ),
  ];
  if (memory(many).length === 0) return rows;
  // Each start with workers against the median of those without: which of those came next to it means nothing.
  const without = memory(none);
  const baselines = memory(many).map(() => median(without));
  const memoryRow = row(
    { broker, name: "memory, 200 workers", unit: "MB", compared: "difference", target: { atMost: 150 } },
    memory(many),
    baselines,
  );
  return [...rows, { ...memoryRow, baseline: spread(without) }];
}

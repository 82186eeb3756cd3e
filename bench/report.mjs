import { spread } from "./statistics.mjs";

/**
 * One line of the result.
 *
 * @typedef {object} Row
 * @property {string} broker
 * @property {string} name
 * @property {string} unit of `value` and `baseline`
 * @property {string} [baselineName] what the baseline is of; without one there is none
 * @property {import("./statistics.mjs").Spread} value
 * @property {import("./statistics.mjs").Spread} [baseline]
 * @property {"ratio" | "value"} compared what `target` is about: the ratio to the baseline, or the value itself
 * @property {import("./statistics.mjs").Spread} result
 * @property {{ atMost: number } | { atLeast: number }} [target]
 * @property {boolean} [reached]
 */

/**
 * @param {Pick<Row, "broker" | "name" | "unit" | "baselineName" | "compared" | "target">} what
 * @param {readonly number[]} values
 * @param {readonly number[]} [baselines] taken in the same rounds, or one for all of them
 * @returns {Row}
 */
export function row(what, values, baselines = []) {
  const compared = values.map((value, round) =>
    what.compared === "ratio" ? value / (baselines[round] ?? Number(baselines[0])) : value,
  );
  const result = spread(compared);
  const { target } = what;
  return {
    ...what,
    value: spread(values),
    ...(baselines.length > 0 ? { baseline: spread(baselines) } : {}),
    result,
    ...(target ? { reached: isReached(target, result.median) } : {}),
  };
}

/** @param {NonNullable<Row["target"]>} target @param {number} result */
function isReached(target, result) {
  return "atMost" in target ? result <= target.atMost : result >= target.atLeast;
}

/** @param {number} value */
const digits = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3, useGrouping: false });

/** @param {import("./statistics.mjs").Spread} values */
const withSpread = (values) => `${digits(values.median)} (${digits(values.min)}-${digits(values.max)})`;

/** @param {Row} row */
function targetOf({ target, compared, unit }) {
  if (!target) return "";
  const bound = "atMost" in target ? `<= ${target.atMost}` : `>= ${target.atLeast}`;
  return compared === "ratio" ? `x ${bound}` : `${bound} ${unit}`;
}

/** @param {readonly Row[]} rows */
export function table(rows) {
  const cells = [
    ["broker", "what", "worker-host", "baseline", "", "ratio", "target", "reached"],
    ...rows.map((each) => [
      each.broker,
      each.name,
      `${withSpread(each.value)} ${each.unit}`,
      each.baselineName ?? "",
      each.baseline ? `${withSpread(each.baseline)} ${each.unit}` : "",
      each.compared === "ratio" ? `x ${withSpread(each.result)}` : "",
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

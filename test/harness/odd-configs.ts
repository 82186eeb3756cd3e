// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how a config names a variable
import fc from "fast-check";
import { stringify } from "yaml";

type Values = Record<string, unknown>;

export const configKey = fc.oneof(
  fc.stringMatching(/^[a-z_]{1,8}$/),
  fc.constantFrom("__proto__", "constructor", "toString", "<<", "on", "1", "a b", "k: v", "", "größe", "#k"),
);
export const configValue = fc.oneof(fc.jsonValue(), fc.jsonValue({ stringUnit: "binary" })).map(carried);
export const configValues = fc.dictionary(configKey, configValue).map((all) => carried(all) as Values);

/** What YAML and JSON are made of, and what they trip over. */
const PARTS = [
  ..."a: ¦b: ¦- ¦? ¦: ¦[¦]¦{¦}¦,¦\"¦'¦|¦>-¦&x ¦*x¦&y ¦*y¦<<: ¦!!set ¦!!binary ¦!!omap ¦!t ¦~¦yes¦null¦%YAML 1.1".split(
    "¦",
  ),
  ..."2001-12-14¦.nan¦-.inf¦-0¦0x1F¦1e999¦${constructor}¦${__proto__}¦${X}¦${X:-y}¦$${X}¦\ufeff¦\t".split("¦"),
  ...["\n", "\n  ", "\n    ", "\r\n", "# c\n", "\n---\n", "\n...\n", "<<: *x\n", "a: &x\n  b: *x\n"],
];

const soup = fc
  .array(fc.oneof({ arbitrary: fc.constantFrom(...PARTS), weight: 6 }, fc.string({ unit: "binary", maxLength: 4 })), {
    maxLength: 14,
  })
  .map((parts) => parts.join(""));

const BRACKETS = [...'[¦]/{"a":¦}/{a: ¦}/- ¦/? ¦/[? ¦]/[¦/&x [*x, ¦]'.split("/")].map((both) => both.split("¦"));

const nested = (levels: fc.Arbitrary<number>) =>
  fc
    .tuple(fc.constantFrom(...BRACKETS), levels, fc.constantFrom("", '{"a":¦}', "a:\n  ¦\n", '{"a":¦,"a":1}'))
    .map(([[open = "", close = ""], times, around]) => {
      const [head = "", tail = ""] = around.split("¦");
      return `${head}${open.repeat(times)}1${close.repeat(times)}${tail}`;
    });

/** Aliases that make values deeper than their text is. */
const chained = fc.integer({ min: 1, max: 300 }).map((links) => {
  const lines = Array.from({ length: links }, (_, at) => `k${at}: &k${at} {a: {b: ${at === 0 ? 1 : `*k${at - 1}`}}}`);
  return lines.join("\n");
});

/** The text of a config file as nobody should write it; the deepest would end a process that composes it. */
export const configText = fc.oneof(
  { arbitrary: soup, weight: 40 },
  { arbitrary: nested(fc.integer({ min: 0, max: 200 })), weight: 10 },
  { arbitrary: nested(fc.constantFrom(700, 3_000)), weight: 2 },
  { arbitrary: fc.constant(`{"a":${"[".repeat(30_000)}1${"]".repeat(30_000)}}`), weight: 1 },
  { arbitrary: chained, weight: 3 },
  { arbitrary: configValues.map((all) => JSON.stringify(all)), weight: 10 },
  { arbitrary: configValues.map((all) => stringify(all)), weight: 10 },
);

/** As JSON has it: -0 is 0. */
function carried(given: unknown): unknown {
  return JSON.parse(JSON.stringify(given));
}

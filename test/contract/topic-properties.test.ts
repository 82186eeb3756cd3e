import fc from "fast-check";
import { expect, test } from "vitest";
import { WorkerHostError } from "../../worker-host/contract/errors.ts";
import {
  assertKey,
  assertTarget,
  assertTopicFilter,
  assertTopicName,
  faultOfId,
  faultOfPrefix,
  matchesFilter,
  Topics,
} from "../../worker-host/contract/topics.ts";
import { rounds } from "../harness/rounds.ts";

const RUNS = { numRuns: rounds(1_000) };

const level = fc.oneof(
  fc.constantFrom("a", "b", "", "cmd", "reply", "telemetry", "halloween", "$SYS", "+", "#", "a+", "$share", "\uffff"),
  fc.string({ unit: "binary" }),
);

/** Texts that are like topics, and some that are far too long. */
const topicLike = fc.oneof(
  fc.array(level, { maxLength: 6 }).map((levels) => levels.join("/")),
  fc
    .tuple(fc.integer({ min: 90, max: 210 }), fc.constantFrom("a/", "/", "ä/"))
    .map(([times, part]) => part.repeat(times)),
  fc.integer({ min: 21_000, max: 66_000 }).map((length) => "ä".repeat(length / 2)),
  fc.string({ unit: fc.constantFrom("\ud800", "\udfff", "a", "\ufffe", "\u{1ffff}", "\ufdd0", "\u0000", "\u0085") }),
);

const odd = fc.oneof(
  fc.anything({ withBigInt: true, withNullPrototype: true }),
  fc.anything().map((value) => ({ toString: value })),
  fc.string().map(Symbol),
);

const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,200}$/);
const key = topicLike.filter((one) => isTaken(() => assertKey(one)));
const prefix = topicLike.filter((one) => faultOfPrefix(one) === undefined);

/** A topic as somebody may send it: without wildcards. */
const plainTopic = fc
  .array(fc.constantFrom("a", "b", "", "ab", "$a", "."), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join("/"));
const filter = fc
  .tuple(
    fc.constantFrom("", "", "$share/g/"),
    fc.array(fc.constantFrom("a", "b", "", "ab", "$a", ".", "+", "+"), { minLength: 1, maxLength: 5 }),
    fc.constantFrom([], ["#"]),
    fc.boolean(),
  )
  .map(([group, levels, end, alone]) => group + (alone && end.length > 0 ? end : [...levels, ...end]).join("/"));

test("an id, a topic, a filter or a key is taken, or refused in words, whatever it is", () => {
  const codes: [(one: string) => void, string][] = [
    [assertTarget, "invalid_id"],
    [assertTopicName, "invalid_topic"],
    [assertTopicFilter, "invalid_topic"],
    [assertKey, "invalid_topic"],
  ];
  fc.assert(
    fc.property(fc.oneof(topicLike, odd), fc.constantFrom(...codes), (given, [check, code]) => {
      try {
        check(given as string);
      } catch (error) {
        expect(error).toBeInstanceOf(WorkerHostError);
        expect(error).toMatchObject({ code });
        return;
      }
      expect(typeof given).toBe("string");
      const bytes = new TextEncoder().encode(given as string);
      expect(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)).toBe(given);
      expect(bytes.length).toBeLessThanOrEqual(65_535);
    }),
    RUNS,
  );
});

test("any text is an id and a prefix, or isn't, in words", () => {
  fc.assert(
    fc.property(topicLike, (given) => {
      for (const fault of [faultOfId(given), faultOfPrefix(given)]) expect(fault ?? "fine").toMatch(/\S/);
      if (faultOfId(given) === undefined) expect(() => assertTarget(given)).not.toThrow();
    }),
    RUNS,
  );
});

test("the topics of the contract can be published to, and name the id that they are for", () => {
  fc.assert(
    fc.property(prefix, id, id, key, id, (start, host, one, end, name) => {
      const topics = new Topics(start, host);
      const built = [
        topics.command(one),
        topics.telemetry(one, end),
        topics.status(one, end),
        topics.availability(one),
        topics.runstate(one),
        topics.state(one),
        topics.description(one),
        topics.reply(one, name),
      ];
      for (const topic of built) {
        assertTopicName(topic);
        expect(topics.idOf(topic)).toBe(one);
        expect(topics.isCommand(topic)).toBe(topic === topics.command(one));
        expect(topics.isReply(topic)).toBe(topic === topics.reply(one, name));
        expect(matchesFilter(topics.subtree(one), topic)).toBe(true);
      }
      expect(matchesFilter(topics.runstates, topics.runstate(one))).toBe(true);
      assertTopicName(topics.uptime);
      assertTopicName(topics.broadcast);
      for (const wanted of [topics.runstates, topics.subtree(one), topics.reply(one, "+")]) assertTopicFilter(wanted);
      expect(topics.idOf(topics.uptime)).toBe(host);
      expect(topics.isCommand(topics.broadcast)).toBe(true);
    }),
    RUNS,
  );
});

test("a topic never takes both commands and replies, and one for replies can be published to", () => {
  const near = fc
    .array(fc.constantFrom("halloween", "x", "", "cmd", "reply", "a", "+", "#", "\uffff"), { maxLength: 5 })
    .map((levels) => ["halloween", ...levels].join("/"));
  fc.assert(
    fc.property(fc.oneof(near, topicLike), fc.constantFrom("halloween", "halloween/x"), (topic, start) => {
      const topics = new Topics(start);
      const isReply = topics.isReply(topic);
      expect(isReply && topics.isCommand(topic)).toBe(false);
      if (isReply) assertTopicName(topic);
      expect(["string", "undefined"]).toContain(typeof topics.idOf(topic));
    }),
    RUNS,
  );
});

test("a filter takes the topics that MQTT says it does", () => {
  fc.assert(
    fc.property(filter, plainTopic, (wanted, topic) => {
      assertFilterUnlessEmpty(wanted);
      expect(matchesFilter(wanted, topic)).toBe(model(wanted).test(topic));
    }),
    { numRuns: rounds(5_000) },
  );
  fc.assert(
    fc.property(topicLike, topicLike, (wanted, topic) => {
      expect(typeof matchesFilter(wanted, topic)).toBe("boolean");
    }),
    RUNS,
  );
});

/** MQTT 3.1.1, 4.7.1 and 4.7.2, as a regular expression. */
function model(wanted: string): RegExp {
  const own = wanted.replace(/^\$share\/g\//, "");
  const levels = own.split("/").map((one) => {
    if (one === "+") return "[^/]*";
    return one === "#" ? ".*" : one.replaceAll(/[.$]/g, "\\$&");
  });
  const source = levels.join("/").replace(/\/\.\*$/, "(/.*)?");
  return new RegExp(`^${/^[+#]/.test(own) ? "(?!\\$)" : ""}${source}$`, "s");
}

/** `""` alone is no filter; the matching doesn't mind. */
function assertFilterUnlessEmpty(wanted: string): void {
  if (wanted !== "" && wanted !== "$share/g/") assertTopicFilter(wanted);
}

function isTaken(check: () => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    if (error instanceof WorkerHostError) return false;
    throw error;
  }
}

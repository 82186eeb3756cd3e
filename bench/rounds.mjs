/**
 * Measures each of `subjects` in each round, in another order every time, so that what slows the machine slows all.
 *
 * @template T
 * @template {Record<string, () => Promise<T>>} Subjects
 * @param {number} rounds
 * @param {Subjects & Record<string, () => Promise<T>>} subjects
 * @returns {Promise<{ [Name in keyof Subjects]: T[] }>} what each gave, round by round
 */
export async function interleave(rounds, subjects) {
  const each = Object.entries(subjects).map(([name, measure]) => ({
    name,
    measure,
    measured: /** @type {T[]} */ ([]),
  }));
  for (let round = 0; round < rounds; round++) {
    const shift = Math.floor(round / 2) % each.length;
    const turned = [...each.slice(shift), ...each.slice(0, shift)];
    for (const { measure, measured } of round % 2 === 0 ? turned : turned.reverse()) measured.push(await measure());
  }
  return /** @type {{ [Name in keyof Subjects]: T[] }} */ (
    Object.fromEntries(each.map(({ name, measured }) => [name, measured]))
  );
}

/**
 * Measures each of `subjects` in each round, in another order every time, so that what slows the machine slows all.
 *
 * @template {string} Name
 * @template T
 * @param {number} rounds
 * @param {Record<Name, () => Promise<T>>} subjects
 * @returns {Promise<Record<Name, T[]>>} what each gave, round by round
 */
export async function interleave(rounds, subjects) {
  const names = /** @type {Name[]} */ (Object.keys(subjects));
  const measured = /** @type {Record<Name, T[]>} */ (
    Object.fromEntries(names.map((name) => [name, /** @type {T[]} */ ([])]))
  );
  for (let round = 0; round < rounds; round++) {
    const shift = Math.floor(round / 2) % names.length;
    const turned = [...names.slice(shift), ...names.slice(0, shift)];
    for (const name of round % 2 === 0 ? turned : turned.reverse()) measured[name].push(await subjects[name]());
  }
  return measured;
}

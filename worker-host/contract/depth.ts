/** What is nested deeper than this is refused: whatever walks it level by level runs out of stack. */
export const MOST_LEVELS = 100;

/** Whether objects and lists are nested more than `levels` deep; one that contains itself is. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}

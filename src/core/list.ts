/** Takes everything out. The list keeps its memory, which `length = 0` gives back. */
export function empty<T>(list: T[]): void {
  while (list.length > 0) list.pop();
}

/** Keeps those for which `stays` is true, in order. */
export function keep<T>(list: T[], stays: (item: T) => boolean): void {
  let kept = 0;
  for (const item of list) if (stays(item)) list[kept++] = item;
  while (list.length > kept) list.pop();
}

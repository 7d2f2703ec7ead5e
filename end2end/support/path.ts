import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The first of these that is there. */
export const firstOf = (paths: string[]): string | undefined => paths.find((path) => existsSync(path));

/** The first program of one of these names on the path, or where it is kept for administrators. */
export function onPath(...names: string[]): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'];
  return firstOf(folders.flatMap((folder) => names.map((name) => join(folder, name))));
}

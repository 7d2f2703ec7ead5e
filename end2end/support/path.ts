import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Returns the first of these paths that exists. */
export const firstOf = (paths: string[]): string | undefined => paths.find((path) => existsSync(path));

/** Returns the path of the first of these programs that is found in PATH or in /usr/sbin. */
export function onPath(...names: string[]): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'];
  return firstOf(folders.flatMap((folder) => names.map((name) => join(folder, name))));
}

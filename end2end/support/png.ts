// Pictures for stories: PNGs of one color, made here.

import { crc32, deflateSync } from 'node:zlib';

type GivenFile = { name: string; mimeType: string; buffer: Buffer };

function chunk(name: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name, 'latin1'), content]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(content.length);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}

/** Returns a picture of this size and color. */
export function png(name: string, width: number, height: number, color: readonly [number, number, number] = [200, 80, 40]): GivenFile {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const row = Buffer.concat([Buffer.from([0]), ...Array.from({ length: width }, () => Buffer.from(color))]);
  const data = deflateSync(Buffer.concat(Array.from({ length: height }, () => row)));
  const start = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  const parts = [start, chunk('IHDR', header), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))];
  return { name, mimeType: 'image/png', buffer: Buffer.concat(parts) };
}

/** A file that says it is a picture. */
export const noPicture: GivenFile = { name: 'letter.png', mimeType: 'image/png', buffer: Buffer.from('<script>alert(1)</script>') };

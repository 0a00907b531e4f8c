/** A tar archive in memory, in the ustar format: small, and the same bytes for the same files. */
export interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
  /** Target of a symbolic link. */
  readonly link?: string;
  readonly directory?: boolean;
}

const BLOCK = 512;
const octal = (value: number, width: number): string => value.toString(8).padStart(width - 1, "0") + "\0";
const padded = (content: Buffer): Buffer =>
  Buffer.concat([content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);

function header(name: string, type: string, mode: number, size: number, link: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name.slice(0, 100), 0);
  block.write(octal(mode, 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(0, 12), 136);
  block.write("        ", 148);
  block.write(type, 156);
  block.write(link.slice(0, 100), 157);
  block.write("ustar\0" + "00", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return block;
}

/** Names over 100 bytes go before the entry as GNU long names. */
function longName(value: string, type: "L" | "K"): Buffer[] {
  if (Buffer.byteLength(value) <= 100) return [];
  const content = Buffer.from(`${value}\0`);
  return [header("././@LongLink", type, 0o644, content.length, ""), padded(content)];
}

export function tar(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ path, mode, content = Buffer.alloc(0), link, directory }) => {
    const name = directory ? `${path}/` : path;
    const type = directory ? "5" : link === undefined ? "0" : "2";
    return [
      ...longName(name, "L"),
      ...longName(link ?? "", "K"),
      header(name, type, mode, content.length, link ?? ""),
      padded(content),
    ];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

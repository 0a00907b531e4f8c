/**
 * The smallest ISO 9660 image that cloud-init accepts as a NoCloud seed: a few files in the root of a volume named CIDATA.
 * Linux shows the file names in lower case and without their version.
 */
const SECTOR = 2048;

/** A number in both byte orders, as ISO 9660 requires. */
function both(value: number, bytes: 2 | 4): Buffer {
  const out = Buffer.alloc(2 * bytes);
  out.writeUIntLE(value, 0, bytes);
  out.writeUIntBE(value, bytes, bytes);
  return out;
}

function directoryRecord(name: Buffer, sector: number, size: number, flags: number): Buffer {
  const length = 33 + name.length + ((name.length + 1) % 2);
  const record = Buffer.alloc(length);
  record.writeUInt8(length, 0);
  both(sector, 4).copy(record, 2);
  both(size, 4).copy(record, 10);
  // A fixed date, 1 January 1980, so that the same files give the same image.
  Buffer.from([80, 1, 1, 0, 0, 0, 0]).copy(record, 18);
  record.writeUInt8(flags, 25);
  both(1, 2).copy(record, 28);
  record.writeUInt8(name.length, 32);
  name.copy(record, 33);
  return record;
}

function pathTable(littleEndian: boolean, rootSector: number): Buffer {
  const table = Buffer.alloc(10);
  table.writeUInt8(1, 0);
  if (littleEndian) table.writeUInt32LE(rootSector, 2);
  else table.writeUInt32BE(rootSector, 2);
  if (littleEndian) table.writeUInt16LE(1, 6);
  else table.writeUInt16BE(1, 6);
  return table;
}

/** Builds the image from files, by name. */
export function seedIso(files: Readonly<Record<string, string>>): Buffer {
  const root = 20;
  let sector = root + 1;
  const contents = Object.entries(files).map(([name, text]) => {
    const bytes = Buffer.from(text);
    const placed = { name: Buffer.from(`${name.toUpperCase()}.;1`), bytes, sector };
    sector += Math.max(1, Math.ceil(bytes.length / SECTOR));
    return placed;
  });
  const self = directoryRecord(Buffer.from([0]), root, SECTOR, 2);
  const records = [
    self,
    directoryRecord(Buffer.from([1]), root, SECTOR, 2),
    ...[...contents]
      .sort((a, b) => Buffer.compare(a.name, b.name))
      .map((file) => directoryRecord(file.name, file.sector, file.bytes.length, 0)),
  ];
  const image = Buffer.alloc(sector * SECTOR);
  const volume = image.subarray(16 * SECTOR, 17 * SECTOR);
  volume.fill(" ", 8, 72);
  volume.write("\x01CD001\x01", 0, "latin1");
  volume.write("CIDATA", 40);
  both(sector, 4).copy(volume, 80);
  both(1, 2).copy(volume, 120);
  both(1, 2).copy(volume, 124);
  both(SECTOR, 2).copy(volume, 128);
  both(10, 4).copy(volume, 132);
  volume.writeUInt32LE(18, 140);
  volume.writeUInt32BE(19, 148);
  self.copy(volume, 156);
  volume.fill(" ", 190, 813);
  volume.writeUInt8(1, 881);
  image.write("\xffCD001\x01", 17 * SECTOR, "latin1");
  pathTable(true, root).copy(image, 18 * SECTOR);
  pathTable(false, root).copy(image, 19 * SECTOR);
  Buffer.concat(records).copy(image, root * SECTOR);
  for (const { bytes, sector: at } of contents) bytes.copy(image, at * SECTOR);
  return image;
}

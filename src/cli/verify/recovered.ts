/** What a recovery would make of the scratch images, were the memory of this host gone: home's bytes, and the journal's over them. */
import { join } from "node:path";
import { BLOCK_BYTES, SECTOR_BYTES } from "../../base/units.ts";
import { PositionedFile } from "../../device/positioned-file.ts";
import { type Piece, planOf } from "../../journal/plan.ts";
import { scan } from "../../journal/scan.ts";
import { readSuperblocks } from "../../journal/superblock.ts";
import { O } from "../../sys/constants.ts";

/** Lays over `content`, of the image `name`, what the journal in `backing` has of it. */
export function recovered(backing: string, name: string, content: Buffer): Buffer {
  const journal = PositionedFile.open(join(backing, ".hypegear", "journal"), O.RDONLY | O.CLOEXEC);
  if (typeof journal === "number") return content;
  try {
    const { superblock } = readSuperblocks(journal);
    if (superblock === undefined) return content;
    const images = [...planOf(scan(journal, superblock).commits).values()];
    const image = images.find(({ facts }) => facts.path === name);
    if (image === undefined) return content;
    const whole = Buffer.alloc(Math.max(content.length, image.size));
    content.copy(whole);
    for (const [block, pieces] of image.blocks) for (const piece of pieces) lay(journal, whole, block, piece);
    return whole;
  } finally {
    journal.close();
  }
}

function lay(journal: PositionedFile, whole: Buffer, block: number, piece: Piece): void {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  if (piece.at >= 0) journal.read(piece.at, bytes);
  for (let sector = 0; sector < BLOCK_BYTES / SECTOR_BYTES; sector++) {
    const isWhole = piece.sectors === 0;
    if (!isWhole && (piece.sectors & (1 << sector)) === 0) continue;
    const low = isWhole ? piece.low : sector * SECTOR_BYTES;
    const high = isWhole ? piece.high : low + SECTOR_BYTES;
    bytes.copy(whole, block * BLOCK_BYTES + low, low, high);
    if (isWhole) return;
  }
}

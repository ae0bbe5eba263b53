/**
 * The "newc" archive that the kernel unpacks as its first root filesystem. Each member:
 *
 *   "070701" | 13 fields of 8 hex digits | name, NUL | pad to 4 | content | pad to 4
 *
 * and a last member named TRAILER!!!. (Linux: Documentation/driver-api/early-userspace/buffer-format.rst)
 */

const FOLDER = 0o040000;
const FILE = 0o100000;
const SYMLINK = 0o120000;
const CHARACTER_DEVICE = 0o020000;

export class Cpio {
  private readonly parts: Buffer[] = [];
  private readonly folders = new Set<string>();
  private members = 0;

  /** Adds the file `path` (no leading slash), and the folders above it that are not there yet. */
  file(path: string, content: Buffer | string, permissions = 0o644): this {
    this.folder(parentOf(path));
    return this.member(path, FILE | permissions, Buffer.from(content));
  }

  symlink(path: string, target: string): this {
    this.folder(parentOf(path));
    return this.member(path, SYMLINK | 0o777, Buffer.from(target));
  }

  characterDevice(path: string, major: number, minor: number): this {
    this.folder(parentOf(path));
    return this.member(path, CHARACTER_DEVICE | 0o600, Buffer.alloc(0), major, minor);
  }

  folder(path: string): this {
    if (path === "" || this.folders.has(path)) return this;
    this.folder(parentOf(path));
    this.folders.add(path);
    return this.member(path, FOLDER | 0o755, Buffer.alloc(0));
  }

  /** The archive so far, ended. */
  bytes(): Buffer {
    const end = new Cpio().member("TRAILER!!!", 0, Buffer.alloc(0));
    return Buffer.concat([...this.parts, ...end.parts]);
  }

  private member(path: string, mode: number, content: Buffer, major = 0, minor = 0): this {
    const name = Buffer.from(`${path}\0`);
    const inode = ++this.members;
    const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, major, minor, name.length, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`);
    this.parts.push(padded(Buffer.concat([header, name])), padded(content));
    return this;
  }
}

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));

function padded(bytes: Buffer): Buffer {
  const excess = bytes.length % 4;
  return excess === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - excess)]);
}

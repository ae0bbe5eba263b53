import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { detectDevice } from "../../src/device/class.ts";
import { deviceNumber, type Host, mountIn, type Place } from "../../src/device/place.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";

let root: string;
let places: Record<string, Partial<Place>>;
let nodes: Record<string, string>;
let host: Host;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "hypegear-device-"));
  places = {};
  nodes = {};
  host = {
    sys: root,
    place: (target) => {
      const place = places[target];
      return place && { device: "0:99", type: "ext4", source: "", upper: "", ...place };
    },
    node: (path) => nodes[path],
  };
});
afterEach(() => rmSync(root, { recursive: true }));

/** A device in the made-up sysfs: its directory below `devices/`, its number, its files. */
function device(path: string, number: string, files: Record<string, string>): void {
  const directory = join(root, "devices", path);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  mkdirSync(directory, { recursive: true });
  mkdirSync(join(root, "dev/block"), { recursive: true });
  symlinkSync(`../../devices/${path}`, join(root, "dev/block", number));
}

function slave(path: string, member: string): void {
  const slaves = join(root, "devices", path, "slaves");
  mkdirSync(slaves, { recursive: true });
  symlinkSync(join(root, "devices", member), join(slaves, member.split("/").at(-1)!));
}

const rotating = { "queue/rotational": "1\n" };
const solid = { "queue/rotational": "0\n" };
const detect = (): ReturnType<typeof detectDevice> => detectDevice("/images", host);

describe("the device beneath a directory", () => {
  test("is a disk's own queue/rotational", () => {
    device("sda", "8:0", rotating);
    device("nvme0n1", "259:0", solid);
    places["/images"] = { device: "8:0" };
    expect(detect()).toEqual({ class: "hdd", reason: "ext4 -> sda, whose queue/rotational is 1" });
    places["/images"] = { device: "259:0", type: "xfs" };
    expect(detect()).toEqual({ class: "ssd", reason: "xfs -> nvme0n1, whose queue/rotational is 0" });
  });

  test("is the disk of a partition", () => {
    device("sda", "8:0", rotating);
    device("sda/sda3", "8:3", { partition: "3\n" });
    places["/images"] = { device: "8:3" };
    expect(detect()).toEqual({ class: "hdd", reason: "ext4 -> sda3 -> sda, whose queue/rotational is 1" });
  });

  test("is the device of a loop device's file, whatever the loop device says of itself", () => {
    device("sda", "8:0", rotating);
    device("loop0", "7:0", { ...solid, "loop/backing_file": "/srv/disk.img\n" });
    places["/images"] = { device: "7:0" };
    places["/srv/disk.img"] = { device: "8:0", type: "xfs" };
    expect(detect()).toEqual({
      class: "hdd",
      reason: "ext4 -> loop0 (/srv/disk.img) -> xfs -> sda, whose queue/rotational is 1",
    });
  });

  test("is unknown when a loop device's file is gone", () => {
    device("loop0", "7:0", { ...rotating, "loop/backing_file": "/srv/disk.img (deleted)\n" });
    places["/images"] = { device: "7:0" };
    expect(detect()).toEqual({
      class: "ssd",
      reason: "ext4 -> loop0 (/srv/disk.img (deleted)) -> /srv/disk.img (deleted) cannot be examined; taken as ssd",
    });
  });

  test("rotates if one member of a mapped device does", () => {
    device("sda", "8:0", rotating);
    device("sda/sda2", "8:2", { partition: "2\n" });
    device("nvme0n1", "259:0", solid);
    device("dm-0", "252:0", solid);
    slave("dm-0", "sda/sda2");
    slave("dm-0", "nvme0n1");
    places["/images"] = { device: "252:0" };
    expect(detect()).toEqual({
      class: "hdd",
      reason: "ext4 -> dm-0 -> (nvme0n1, whose queue/rotational is 0 and sda2 -> sda, whose queue/rotational is 1)",
    });
  });

  test("is found through mapped devices on md devices", () => {
    device("nvme0n1", "259:0", solid);
    device("md0", "9:0", rotating);
    device("dm-1", "252:1", rotating);
    slave("md0", "nvme0n1");
    slave("dm-1", "md0");
    places["/images"] = { device: "252:1" };
    expect(detect()).toEqual({ class: "ssd", reason: "ext4 -> dm-1 -> md0 -> nvme0n1, whose queue/rotational is 0" });
  });

  test("is unknown if one member is and none rotates", () => {
    device("nvme0n1", "259:0", solid);
    device("odd", "240:0", {});
    device("md0", "9:0", solid);
    slave("md0", "nvme0n1");
    slave("md0", "odd");
    places["/images"] = { device: "9:0" };
    expect(detect().reason).toMatch(/odd has no queue\/rotational\); taken as ssd$/);
  });

  test("is the source's, where a filesystem has a device number of its own", () => {
    device("sdb", "8:16", rotating);
    nodes["/dev/sdb"] = "8:16";
    places["/images"] = { device: "0:45", type: "btrfs", source: "/dev/sdb" };
    expect(detect()).toEqual({ class: "hdd", reason: "btrfs -> sdb, whose queue/rotational is 1" });
  });

  test("is the upper directory's on an overlay", () => {
    device("sda", "8:0", rotating);
    places["/images"] = { device: "0:50", type: "overlay", source: "overlay", upper: "/var/up" };
    places["/var/up"] = { device: "8:0" };
    expect(detect()).toEqual({
      class: "hdd",
      reason: "overlay over /var/up -> ext4 -> sda, whose queue/rotational is 1",
    });
  });

  test("is memory for tmpfs", () => {
    places["/images"] = { type: "tmpfs", source: "tmpfs" };
    expect(detect()).toEqual({ class: "ssd", reason: "tmpfs, in memory" });
  });

  test("is unknown for a filesystem without a block device", () => {
    places["/images"] = { device: "0:61", type: "nfs4", source: "server:/export" };
    expect(detect()).toEqual({
      class: "ssd",
      reason: "nfs4 from server:/export names no block device (0:61); taken as ssd",
    });
  });

  test("is unknown when loop devices go in a circle", () => {
    device("loop0", "7:0", { "loop/backing_file": "/a\n" });
    device("loop1", "7:1", { "loop/backing_file": "/b\n" });
    places["/images"] = { device: "7:0" };
    places["/a"] = { device: "7:1" };
    places["/b"] = { device: "7:0" };
    expect(detect()).toEqual({
      class: "ssd",
      reason: "ext4 -> loop0 (/a) -> ext4 -> loop1 (/b) -> ext4 -> loop0 again, a cycle; taken as ssd",
    });
  });

  test("is unknown when sysfs is empty or the directory is missing", () => {
    places["/images"] = { device: "8:0" };
    expect(detect().reason).toBe("ext4 names no block device (8:0); taken as ssd");
    expect(detectDevice("/missing", host).reason).toBe("/missing cannot be examined; taken as ssd");
  });

  test("is unknown when a member's link dangles", () => {
    device("md0", "9:0", rotating);
    slave("md0", "gone");
    places["/images"] = { device: "9:0" };
    expect(detect().reason).toBe("ext4 -> md0 -> gone has no queue/rotational; taken as ssd");
  });
});

describe("mountinfo", () => {
  const text = [
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard",
    "271 1 0:40 / /mnt/a\\040b rw shared:7 master:2 - btrfs /dev/disk\\040one rw,subvol=/",
    "40 27 0:50 / /merged rw - overlay overlay rw,lowerdir=/l,upperdir=/u\\134x,workdir=/w",
    "41 27 0:51 / /odd rw - fuse.thing  rw",
    "",
  ].join("\n");

  test("is read by mount number, with its escapes undone", () => {
    expect(mountIn(text, "27")).toEqual({ type: "ext4", source: "/dev/vda", upper: "" });
    expect(mountIn(text, "271")).toEqual({ type: "btrfs", source: "/dev/disk one", upper: "" });
    expect(mountIn(text, "40")).toEqual({ type: "overlay", source: "overlay", upper: "/u\\x" });
    expect(mountIn(text, "41")).toEqual({ type: "fuse.thing", source: "", upper: "" });
  });

  test("without that mount gives nothing", () => {
    expect(mountIn(text, "2")).toBeUndefined();
    expect(mountIn("27 garbage", "27")).toBeUndefined();
  });
});

test("device numbers split into major and minor as Linux packs them", () => {
  expect(["2049", "65024", "1048832", "4294967551", "17592186044416"].map((n) => deviceNumber(BigInt(n)))).toEqual([
    "8:1",
    "254:0",
    "1:256",
    "0:1048831",
    "4096:0",
  ]);
});

describe("this machine", () => {
  test("gives the same answer for a directory by path and by descriptor, and a reason", () => {
    const fd = openSync(root, "r");
    try {
      const found = detectDevice(root);
      expect(detectDevice(fd)).toEqual(found);
      expect(found.reason.length).toBeGreaterThan(5);
    } finally {
      closeSync(fd);
    }
  });

  test("/dev/shm is memory", () => {
    expect(detectDevice("/dev/shm")).toEqual({ class: "ssd", reason: "tmpfs, in memory" });
  });

  test("a missing directory is unknown and throws nothing", () => {
    expect(detectDevice(join(root, "nowhere"))).toMatchObject({ class: "ssd" });
  });

  test("a real filesystem on a loop device has the class of its image's", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4");
    const { directory, device: loop, file } = await loopFilesystem("ext4", 8);
    const beneath = detectDevice(file);
    const reason = `ext4 -> ${basename(loop)} (${file}) -> ${beneath.reason}`;
    expect(detectDevice(join(directory, "lost+found"))).toEqual({ class: beneath.class, reason });
  });
});

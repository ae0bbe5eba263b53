/**
 * What kind of device is beneath a directory: `hdd` if writes should go in the order of addresses, `ssd` if few rewrites
 * matter more. The walk: file -> filesystem -> block device -> (partition's disk | loop's file | members) -> rotational.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { attempt, type Host, thisHost } from "./place.ts";

export type DeviceClass = "hdd" | "ssd";

export interface Device {
  class: DeviceClass;
  /** The walk, as a sentence. */
  reason: string;
}

/** The end of a walk; without a class when it led nowhere. */
interface Finding {
  class?: DeviceClass;
  walk: string;
}

const IN_MEMORY = new Set(["tmpfs", "ramfs"]);

/**
 * The device beneath the file at a path, or of an open descriptor. Never throws. What cannot be told counts as `ssd`: its
 * policy writes least, and so does least harm on a device that is not one.
 */
export function detectDevice(target: string | number, host: Host = thisHost): Device {
  const { class: found, walk } = ofFile(target, host, []);
  return found === undefined ? { class: "ssd", reason: `${walk}; taken as ssd` } : { class: found, reason: walk };
}

/** `seen`: the block devices walked so far, by their sysfs directories. */
function ofFile(target: string | number, host: Host, seen: readonly string[]): Finding {
  const place = host.place(target);
  if (place === undefined)
    return { walk: `${typeof target === "string" ? target : "the directory"} cannot be examined` };
  const { device, type, source, upper } = place;
  if (IN_MEMORY.has(type)) return { class: "ssd", walk: `${type}, in memory` };
  const direct = sysfsOf(device, host);
  if (direct !== undefined) return after(type, ofDevice(direct, host, seen));
  if (upper !== "") return after(`${type} over ${upper}`, ofFile(upper, host, seen));
  const number = host.node(source);
  const named = number === undefined ? undefined : sysfsOf(number, host);
  if (named !== undefined) return after(type, ofDevice(named, host, seen));
  return { walk: `${type}${source === "" ? "" : ` from ${source}`} names no block device (${device})` };
}

/** `directory`: the device's real directory in sysfs. */
function ofDevice(directory: string, host: Host, seen: readonly string[]): Finding {
  const name = basename(directory);
  if (seen.includes(directory)) return { walk: `${name} again, a cycle` };
  const walked = [...seen, directory];
  if (existsSync(join(directory, "partition"))) return after(name, ofDevice(dirname(directory), host, walked));
  const members = membersOf(directory);
  if (members.length > 0) return after(name, ofMembers(members.map((member) => ofDevice(member, host, walked))));
  const file = contentOf(join(directory, "loop/backing_file"));
  if (file !== undefined) return after(`${name} (${file})`, ofFile(file, host, walked));
  return ofQueue(name, contentOf(join(directory, "queue/rotational")));
}

function ofQueue(name: string, rotational: string | undefined): Finding {
  if (rotational === undefined) return { walk: `${name} has no queue/rotational` };
  return { class: rotational === "1" ? "hdd" : "ssd", walk: `${name}, whose queue/rotational is ${rotational}` };
}

/** One rotating member makes all of it wait for its arm; ssd only if all members are known to be. */
function ofMembers(findings: readonly Finding[]): Finding {
  const walk = findings.map((finding) => finding.walk).join(" and ");
  const text = findings.length === 1 ? walk : `(${walk})`;
  if (findings.some((finding) => finding.class === "hdd")) return { class: "hdd", walk: text };
  return findings.every((finding) => finding.class === "ssd") ? { class: "ssd", walk: text } : { walk: text };
}

/** Devices that a device-mapper or md device is made of. */
function membersOf(directory: string): string[] {
  const names = attempt(() => readdirSync(join(directory, "slaves"))) ?? [];
  return names.sort().map((name) => {
    const link = join(directory, "slaves", name);
    return attempt(() => realpathSync(link)) ?? link;
  });
}

const after = (step: string, finding: Finding): Finding => ({ ...finding, walk: `${step} -> ${finding.walk}` });

const sysfsOf = (device: string, host: Host): string | undefined =>
  attempt(() => realpathSync(join(host.sys, "dev/block", device)));

const contentOf = (path: string): string | undefined => attempt(() => readFileSync(path, "utf8").replace(/\n$/, ""));

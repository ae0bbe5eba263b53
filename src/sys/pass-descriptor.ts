/**
 * Receiving an open descriptor from another program over a unix socket (SCM_RIGHTS), as fusermount3 hands over /dev/fuse.
 *
 *   msghdr   0 name, 8 name length, 16 iovec array, 24 iovec count, 32 control, 40 control length, 48 flags
 *   cmsghdr  0 length (16 + 4), 8 level SOL_SOCKET, 12 type SCM_RIGHTS, 16 the descriptor
 */
import koffi from "koffi";
import { addressOfBuffer } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSGHDR_BYTES = 56;
const CMSG_BYTES = 24;

const library = koffi.load("libc.so.6");
const socketpairCall = library.func("int socketpair(int domain, int type, int protocol, _Out_ int *pair)");
const recvmsgCall = library.func("int64_t recvmsg(int fd, void *msghdr, int flags)");

/** Two connected unix sockets, both inherited by children that are given them. Throws with the error number's text. */
export function socketPair(): [number, number] {
  const pair = [0, 0];
  if ((socketpairCall(AF_UNIX, SOCK_STREAM, 0, pair) as number) < 0)
    throw new Error(`socketpair: error ${koffi.errno()}`);
  return [pair[0]!, pair[1]!];
}

/** The descriptor that waits in socket `fd` (close-on-exec), -1 if the sender closed without one, or a negated error number. */
export function receiveDescriptor(fd: number): number {
  const data = Buffer.alloc(1);
  const iov = Buffer.alloc(16);
  iov.writeBigUInt64LE(BigInt(addressOfBuffer(data)), 0);
  iov.writeBigUInt64LE(1n, 8);
  const control = Buffer.alloc(CMSG_BYTES);
  const message = Buffer.alloc(MSGHDR_BYTES);
  message.writeBigUInt64LE(BigInt(addressOfBuffer(iov)), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(BigInt(addressOfBuffer(control)), 32);
  message.writeBigUInt64LE(BigInt(CMSG_BYTES), 40);
  const got = recvmsgCall(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) as number;
  if (got < 0) return -koffi.errno();
  const isRights = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS;
  return got > 0 && isRights ? control.readInt32LE(16) : -1;
}

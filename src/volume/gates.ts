/**
 * Gates: an operation that changes a backing file's shape (truncate, punch, discard, copy) has the image to itself. It waits
 * until no I/O names the file; requests that come meanwhile wait behind it, in order.
 */
import { event, type Task } from "../base/task.ts";
import type { InodeSlot } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import { dropNote } from "../cache/note.ts";

interface Gate {
  image: Image;
  /** Set while the operation waits for I/O to end. */
  enter: (() => void) | undefined;
  behind: (() => void)[];
}

export class Gates {
  private readonly gates = new Map<InodeSlot, Gate>();
  private readonly isBusy: (image: Image) => boolean;
  private readonly opened: (image: Image) => void;

  /** `isBusy`: I/O names the image's file. `opened` is told when an operation is over. */
  constructor(isBusy: (image: Image) => boolean, opened: (image: Image) => void) {
    this.isBusy = isBusy;
    this.opened = opened;
  }

  /** True if a request for `slot` must wait (`behind`). Called for every read and write. */
  isShut(slot: InodeSlot): boolean {
    return this.gates.size !== 0 && this.gates.has(slot);
  }

  /** Runs `retry` when the gate at `slot` is open again. */
  behind(slot: InodeSlot, retry: () => void): void {
    this.gates.get(slot)!.behind.push(retry);
  }

  /** Runs `body` with `image` to itself. */
  *alone<T>(image: Image, body: () => Task<T>): Task<T> {
    while (this.isShut(image.slot)) yield* event((resume) => this.behind(image.slot, resume));
    const gate: Gate = { image, enter: undefined, behind: [] };
    this.gates.set(image.slot, gate);
    image.gated = true;
    yield* this.shutHome(image);
    const outcome = yield* body();
    this.gates.delete(image.slot);
    image.gated = false;
    image.isHomeShut = false;
    this.opened(image);
    for (const retry of gate.behind) retry();
    return outcome;
  }

  /** For who has `image` to itself: no home I/O begins from now on; waits until none is under way. Does nothing if that is so. */
  *shutHome(image: Image): Task<void> {
    if (image.isHomeShut) return;
    image.isHomeShut = true;
    yield* event((resume) => {
      this.gates.get(image.slot)!.enter = resume;
      this.pump();
    });
    dropNote(image);
  }

  /** Lets those in whose image has fallen quiet. Called once a turn of the loop. */
  pump(): void {
    for (const gate of this.gates.values()) {
      if (gate.enter === undefined || this.isBusy(gate.image)) continue;
      const enter = gate.enter;
      gate.enter = undefined;
      enter();
    }
  }
}

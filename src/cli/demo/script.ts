/** What the guest does in its two boots, as shell scripts for `buildInitramfs`. /dev/vda is the disk under test. */

/** Sizes in bytes of the files written, chosen around sector, block and request edges. */
const FILE_SIZES = [0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 100003, 1048577, 3000001];
/** Written, deleted and trimmed: bytes whose way home should be spared, or undone. */
export const TRIMMED_BYTES = 24 * 2 ** 20;

/**
 * `say` tells a person what was done; `sums FILE` writes all checksums to FILE and reports each as `sha256:NAME`;
 * `verify FILE` fails, naming the files that differ.
 */
const PRELUDE = `
say() { fact did "$*"; }
sums() {
  find data -type f | sort | xargs sha256sum > "$1"
  while read -r sum name; do fact "sha256:$name" "$sum"; done < "$1"
}
verify() { sha256sum -c -s "$1" || { sha256sum -c "$1" | grep -v ': OK$'; return 1; }; }
random() { head -c "$1" /dev/urandom; }
`;

/**
 * Makes an ext4 of `blockBytes` blocks, writes and rewrites files with a flush after each, trims, reads all back from the
 * disk. It ends without unmounting: only what was flushed may be relied on.
 */
export const firstBoot = (blockBytes: 1024 | 4096): string => `${PRELUDE}
mkfs.ext4 -q -F -b ${blockBytes} -L hypegear /dev/vda
mount -t ext4 /dev/vda /mnt
mkdir /mnt/data
cd /mnt
say "made an ext4 filesystem"

number=0
for size in ${FILE_SIZES.join(" ")}; do
  random $size | dd of=data/file$number bs=64k conv=fsync status=none
  number=$((number + 1))
done
for place in 1 7 100 1000 1999; do
  random 700 | dd of=data/file11 bs=700 seek=$place conv=notrunc,fsync iflag=fullblock status=none
done
random 102400 | dd of=data/direct bs=512 iflag=fullblock oflag=direct conv=fsync status=none
say "wrote and synced $number files, rewrote parts of one, wrote one sector by sector past its page cache"

head -c ${TRIMMED_BYTES} /dev/zero | tr '\\0' T > doomed
sync
rm doomed
sync
say "wrote ${TRIMMED_BYTES / 2 ** 20} MiB, deleted and trimmed them: $(fstrim -v /mnt)"

sums /tmp/SUMS
echo 3 > /proc/sys/vm/drop_caches
verify /tmp/SUMS
dd if=/tmp/SUMS of=SUMS conv=fsync status=none
say "read everything back right; now the plug is pulled, without an unmount"
`;

/** Mounts what the first boot left, checks it, changes files in other ways, trims, unmounts, checks the filesystem. */
export const secondBoot = (): string => `${PRELUDE}
mount -t ext4 /dev/vda /mnt
cd /mnt
verify SUMS
say "found all $(wc -l < SUMS) files right after the restart"

cp data/file10 data/copy
random 5000 >> data/file5
truncate -s 1000001 data/file11
mv data/file8 data/renamed
rm data/file9
ln data/file7 data/link
sync
sums /tmp/SUMS
dd if=/tmp/SUMS of=SUMS conv=fsync status=none
fstrim /mnt
say "copied, appended, truncated, renamed, deleted and linked files"

cd /
umount /mnt
e2fsck -fn /dev/vda
say "unmounted; its own e2fsck finds the filesystem clean"
`;

# A serial line with two ends and noise: line.py SEED DAMAGE. Prints the two terminal devices, then carries bytes between them until it is killed,
# each flipped, dropped or doubled with probability DAMAGE. Both ends stay open here, so that either may come and go.
import os, pty, random, select, sys, tty

noise = random.Random(int(sys.argv[1]))
damage = float(sys.argv[2])
masters, slaves = zip(*(pty.openpty() for _ in range(2)))
for slave in slaves:
    tty.setraw(slave)
print(*(os.ttyname(slave) for slave in slaves), flush=True)
while True:
    for end in select.select(masters, [], [])[0]:
        out = bytearray()
        for byte in os.read(end, 4096):
            if noise.random() >= damage:
                out.append(byte)
                continue
            kind = noise.randrange(3)
            if kind != 1:
                out.append(byte if kind else byte ^ (1 << noise.randrange(8)))
            if kind == 2:
                out.append(byte)
        if out:
            os.write(masters[1 - masters.index(end)], bytes(out))

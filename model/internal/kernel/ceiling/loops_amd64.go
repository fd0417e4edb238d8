package ceiling

import "golang.org/x/sys/cpu"

var available = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// operations are those of a round of fma: twelve multiplications and additions of eight lanes.
const operations = 12 * 8 * 2

func multiplyAdd(rounds int) { fma(rounds) }

var loops = func() []func(p *float32, n int) {
	if !available {
		return nil
	}
	return []func(p *float32, n int){read1Ahead0, read4Ahead0, read1Ahead512, read4Ahead512, read1Ahead2048, read4Ahead2048}
}()

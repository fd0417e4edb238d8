package ceiling

import "golang.org/x/sys/cpu"

var available = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// widest is whether multiply-adds have sixteen lanes, not eight.
var widest = available && cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ

// multiplyAdd does rounds of twelve multiply-adds and returns how many operations they are.
func multiplyAdd(rounds int) int {
	if widest {
		fma16(rounds)
		return rounds * 12 * 16 * 2
	}
	fma8(rounds)
	return rounds * 12 * 8 * 2
}

var loops = func() []func(p *float32, n int) {
	if !available {
		return nil
	}
	return []func(p *float32, n int){read1Ahead0, read4Ahead0, read1Ahead512, read4Ahead512, read1Ahead2048, read4Ahead2048}
}()

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// fma does rounds of 12 independent fused multiply-adds of so many lanes, which is as much as two
// units with a latency of four or five cycles can do.
func fma(lanes int) {
	const chains = 12
	name := fmt.Sprintf("fma%d", lanes)
	TEXT(name, NOSPLIT, "func(rounds int)")
	Doc(fmt.Sprintf("%s does %d fused multiply-adds of %d lanes a round.", name, chains, lanes))
	rounds := Load(Param("rounds"), GP64())
	a := zeros(lanes)
	sums := make([]VecVirtual, chains)
	for i := range sums {
		sums[i] = zeros(lanes)
	}
	Label("round")
	for _, s := range sums {
		VFMADD231PS(a, a, s)
	}
	DECQ(rounds)
	JNZ(LabelRef("round"))
	VZEROUPPER()
	RET()
}

// read reads n bytes from p in a number of streams, which lie side by side, and asks for
// what comes so many bytes later, if any.
func read(streams, ahead int) {
	TEXT(fmt.Sprintf("read%dAhead%d", streams, ahead), NOSPLIT, "func(p *float32, n int)")
	Doc(fmt.Sprintf("read%dAhead%d reads n bytes, a multiple of %d, in %d streams.", streams, ahead, 128*streams, streams))
	Pragma("noescape")
	p, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	apart, left := GP64(), GP64()
	MOVQ(n, left)
	MOVQ(n, apart)
	for s := streams; s > 1; s /= 2 {
		SHRQ(U8(1), apart)
	}
	lines := rowsOf(p, apart, streams)
	sums := [4]VecVirtual{YMM(), YMM(), YMM(), YMM()}
	for _, s := range sums {
		VXORPS(s, s, s)
	}
	Label("line")
	for _, line := range lines {
		if ahead > 0 {
			PREFETCHT0(line.Offset(ahead))
			PREFETCHT0(line.Offset(ahead + 64))
		}
		for i, s := range sums {
			VORPS(line.Offset(32*i), s, s)
		}
	}
	ADDQ(U32(128), p)
	SUBQ(U32(uint32(128*streams)), left)
	JNZ(LabelRef("line"))
	VZEROUPPER()
	RET()
}

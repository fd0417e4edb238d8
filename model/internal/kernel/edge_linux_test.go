package kernel

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"checkpoint12/model/activation"
)

// fenced returns n values that begin right after memory that cannot be read, or end
// right before it.
func fenced(t *testing.T, n int, end bool) []float32 {
	page := syscall.Getpagesize()
	size := (4*n + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(all) })
	for _, fence := range [][]byte{all[:page], all[page+size:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	from := page
	if end {
		from += size - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&all[from])), n)
}

// A product reads and writes nothing before or after its operands: a fault ends the test.
func TestMulStaysWithin(t *testing.T) { eachChoice(t, testMulStaysWithin) }

func testMulStaysWithin(t *testing.T) {
	p := NewPool(1)
	rng := rand.New(rand.NewPCG(6, 6))
	for _, layout := range []Layout{InOut, OutIn} {
		for _, rows := range []int{1, 2, 3, 4, 7, fewRows + 1} {
			for _, size := range [][2]int{{1, 1}, {3, 5}, {8, 16}, {129, 17}, {131, 141}, {7, 259}, {135, 1031}} {
				for _, end := range []bool{false, true} {
					in, out := size[0], size[1]
					x, w, bias, y := fenced(t, rows*in, end), fenced(t, in*out, end), fenced(t, out, end), fenced(t, rows*out, end)
					for _, s := range [][]float32{x, w, bias} {
						copy(s, normal(rng, len(s), 1))
					}
					m := NewMatrix(w, in, out, layout)
					m.Mul(p, y, x, bias, rows)
					elsewhere := make([]float32, len(y))
					m.Mul(p, elsewhere, x, bias, rows)
					if !sameBits(y, elsewhere) {
						t.Errorf("layout %d, %d rows, %d to %d: other bits elsewhere", layout, rows, in, out)
					}
				}
			}
		}
	}
}

// So do the functions of one value and of a row.
func TestFunctionsStayWithin(t *testing.T) {
	eachChoice(t, func(t *testing.T) {
		p := NewPool(1)
		for n := 1; n <= 9; n++ {
			for _, end := range []bool{false, true} {
				x, y := fenced(t, n, end), fenced(t, n, end)
				Activate(p, y, x, activation.Released)
				Softmax(y, x, 1)
				for i, v := range y {
					if v != float32(1/float64(n)) {
						t.Errorf("%d equal values: probability %d is %v", n, i, v)
					}
				}
			}
		}
	})
}

//go:build !amd64

package ceiling

const (
	available  = false
	operations = 0
)

func multiplyAdd(int) {}

var loops []func(p *float32, n int)

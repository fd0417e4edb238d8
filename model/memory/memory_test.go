package memory_test

import (
	"math"
	"strings"
	"testing"

	"checkpoint12/model/memory"
)

func TestRoom(t *testing.T) {
	for _, bytes := range []int{0, 1, 100 << 20} {
		if err := memory.Room(bytes); err != nil {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
	const tooMany = math.MaxInt/2 - 1<<30 // no machine maps so much
	if err := memory.Room(tooMany); err == nil || !strings.Contains(err.Error(), "MB of memory") {
		t.Errorf("%d bytes: error %v", tooMany, err)
	}
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// tries is the number of attempts in a row that get nowhere.
	tries = 6
	// unreachedTries is the same while nobody has answered yet: a machine without
	// a network should be told so soon.
	unreachedTries = 2
	// progress is the number of bytes that count as getting somewhere.
	progress = 1 << 20
	// longest is how long a server may ask to wait. More is for a person to decide.
	longest = 5 * time.Minute
	// slowest is the longest pause where the server asks for none.
	slowest = 30 * time.Second
)

// retry spaces attempts by pauses of 1, 2, 4… seconds, or as the server asks, up to
// a limit.
type retry struct {
	c       *Client
	what    string // what is being tried, for the note
	failed  int    // in a row
	reached *bool  // somebody has answered in this fetch
}

// wait returns nil once it is time to try again, and otherwise the error to end
// with. gained is how many bytes came since the last failure.
func (r *retry) wait(ctx context.Context, err error, gained int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !transient(err) {
		return err
	}
	if gained >= progress {
		r.failed = 0
	}
	r.failed++
	limit := tries
	var network *networkError
	if errors.As(err, &network) && network.unreached() && !*r.reached {
		limit = unreachedTries
	}
	if r.failed >= limit {
		return fmt.Errorf("tried %d times: %w", r.failed, err)
	}
	pause := min(time.Second<<(r.failed-1), slowest)
	var status *statusError
	if errors.As(err, &status) && status.after > 0 {
		if pause = status.after; pause > longest {
			return fmt.Errorf("%w: it asks to wait %v", err, pause)
		}
	}
	r.c.note(fmt.Sprintf("%s: %v; trying again in %v", r.what, err, pause))
	return r.c.sleep(ctx, pause)
}

package verify

import (
	_ "embed"
	"fmt"
	"slices"

	"checkpoint12/harness/internal/names"
	"checkpoint12/model/strictjson"
)

// A Checkpoint describes one of the twelve, or a check before them.
type Checkpoint struct {
	Number    int     `json:"number"`    // 1 to 12, CheckEmbeddings or CheckWeights
	Title     string  `json:"title"`     // a few words, "attention scores"
	Stages    string  `json:"stages"`    // the stages it looks at, as patterns
	Tolerance string  `json:"tolerance"` // in words; the numbers are in the table of tolerances
	Causes    []Cause `json:"causes"`    // the usual causes of a failure, likeliest first
	Fix       string  `json:"fix"`       // where to look
}

// A Cause is a usual cause of a failure.
type Cause struct {
	Text   string   `json:"text"`
	Stages []string `json:"stages"` // patterns of those that it can sit in; none is all of the checkpoint's
}

// CausesAt returns the usual causes that can sit in one of the stages or, without any, all.
func (c Checkpoint) CausesAt(stages ...string) (causes []string) {
	for _, cause := range c.Causes {
		at := func(stage string) bool {
			return slices.ContainsFunc(cause.Stages, func(p string) bool { return names.Match(p, stage) })
		}
		if len(stages) == 0 || len(cause.Stages) == 0 || slices.ContainsFunc(stages, at) {
			causes = append(causes, cause.Text)
		}
	}
	return causes
}

// String returns the checkpoint's number and title.
func (c Checkpoint) String() string {
	if c.Number <= CheckEmbeddings { // of no checkpoint
		return c.Title
	}
	return fmt.Sprintf("checkpoint %d (%s)", c.Number, c.Title)
}

// Numbers of the checks before the twelve, and of the twelve.
const (
	CheckWeights    = -1 // the weights are those that the figures are of
	CheckEmbeddings = 0  // the embeddings, which no checkpoint names and all of them read
	checkCache      = 3
	CheckpointCount = 12
)

// Info returns checkpoint n, 1 to 12, or one of the checks before them.
func Info(n int) Checkpoint { return texts.Checkpoints[n-CheckWeights] }

// The ways in which checkpoint 12 fails.
const (
	otherText        = "other text"
	notDeterministic = "not deterministic"
	wrongLength      = "wrong length"
)

//go:embed checkpoints.json
var checkpointsJSON []byte

// texts has the checkpoints from CheckWeights on, and causes that are narrower than
// theirs: of the ways in which checkpoint 12 fails, of a NaN, an outlier and figures.
var texts = func() (t struct {
	Checkpoints []Checkpoint        `json:"checkpoints"`
	Causes      map[string][]string `json:"causes"`
}) {
	if err := strictjson.Unmarshal(checkpointsJSON, &t); err != nil {
		panic(fmt.Sprintf("checkpoints.json: %v", err))
	}
	return t
}()

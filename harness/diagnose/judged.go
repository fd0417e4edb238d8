package diagnose

import (
	"errors"

	"checkpoint12/harness"
	"checkpoint12/harness/replay"
)

// A Judged is a run, or a row of a batch, as it was judged, with its tensors at hand until
// its sources are closed.
type Judged struct {
	Comparison // as it was judged
	Report     *harness.Report
	Engines    []EngineResult // the goldens compared, the one that decides first

	run *replay.Run
}

// Right returns what the stage of the place is for the run's own inputs, whatever the run
// has there, with its rounding bound. It needs a model.
func (j *Judged) Right(at harness.Place) (replay.Value, error) {
	if j.Model == nil {
		return replay.Value{}, errors.New("there is no model to replay it by")
	}
	if j.run == nil {
		var golden harness.Source
		if len(j.Engines) > 0 {
			golden = j.Engines[0].Source
		}
		o := j.replayOptions(golden)
		o.Progress = nil
		run, err := replay.NewRun(j.Schedule, j.Candidate, j.replayer(j.Candidate), o)
		if err != nil {
			return replay.Value{}, err
		}
		j.run = run
	}
	return j.run.Right(at.Step, at.Stage)
}

package gpt2_test

import (
	"fmt"
	"log"
	"math"

	"checkpoint12/harness"
	"checkpoint12/harness/dump"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/verify"
	"checkpoint12/model"
	"checkpoint12/model/zoo"
)

// Another GPT-2 in Go is checked by calling Recorder.Tap with each stage, under
// the contract's names, and comparing the recorder with a golden. Here the model
// of this repository stands in for it, with the erf form of GELU in block 1.
func Example() {
	golden := "../../goldens/synthetic-tiny/hello/float64"
	schedule, err := gpt2.DumpSchedule(1, gpt2.Folder{Dir: golden})
	if err != nil {
		log.Fatal(err)
	}
	want, _, err := dump.Open(golden, schedule)
	if err != nil {
		log.Fatal(err)
	}
	engine, err := zoo.Load("synthetic-tiny")
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	rec := harness.NewRecorder(harness.RecorderOptions{Schedule: schedule, Name: "my engine"})
	prompt, up := want.Manifest().Tokens, []float32(nil)
	session, err := engine.NewSession(model.SessionOptions{
		Tap: func(stage string, shape []int, data []float32) {
			switch stage {
			case "h.1.mlp.c_fc":
				up = append(up[:0], data...)
			case "h.1.mlp.act":
				for i, x := range up {
					data[i] = float32(0.5 * float64(x) * (1 + math.Erf(float64(x)/math.Sqrt2)))
				}
			}
			rec.Tap(stage, shape, data)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	rec.Step(0)
	next, err := session.Step(prompt[0])
	if err != nil {
		log.Fatal(err)
	}
	rec.SetTokens([][]int{append(prompt[0], next...)})

	report, err := harness.Compare(schedule, want, rec, harness.CompareOptions{})
	if err != nil {
		log.Fatal(err)
	}
	first := report.FirstDivergence
	stage, _ := schedule.Stage(first.Stage)
	fmt.Println(report.Verdict, first)
	fmt.Println(verify.Info(stage.Checkpoint))
	fmt.Println(verify.Info(stage.Checkpoint).CausesAt(stage.Name)[0])
	// Output:
	// fail step_00/h.1.mlp.act
	// checkpoint 6 (feed-forward)
	// erf form of GELU: GPT-2 as released uses the tanh form
}

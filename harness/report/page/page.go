// Package page writes a report as one HTML file that needs nothing else: what is wrong, a
// map of blocks and stages, and pictures of the tensors.
//
// A [Page] is plain data, which package pictures makes of what compare and verify hold. Text
// in it may come from anywhere: what is not printed becomes visible, html/template escapes
// the rest, and a policy in the page allows its own script and style and no request.
package page

// A Page is what a page shows.
type Page struct {
	Title    string // of the window
	Verdict  Verdict
	Findings []Finding
	Beside   []Beside // what the verdict is not about

	Checkpoints []Checkpoint // of verify; none of a comparison
	Texts       []Fact       // continued, by case

	Runs   []Run
	Left   []string  // how much of what is left out, to keep the page small
	Stages []Summary // of all runs, by family of stages
	Rows   []Row     // outside their bounds, the first of them
	More   int       // rows outside that are not in Rows

	Engines  [][]string // a table with a head: how far engines are from the reference
	Notes    []string
	Facts    []Fact    // versions, hashes
	Commands []Command // to reproduce this
}

// The states of a verdict.
const (
	Passed  = "pass"
	Failed  = "fail"
	Partial = "partial" // nothing failed, and not all could be judged
)

// A Verdict is what the first lines of the text say.
type Verdict struct {
	State  string
	Lines  []string
	Stage  string // the first that is wrong, and where
	Cause  string
	Remedy string  // where to look: what the checkpoint is computed of
	Closer Command // what looks closer; its Line is "" if there is nothing
}

// A Command is a command line and what it does. One that is too long to be shown whole is not.
type Command struct{ What, Line string }

// A Fact is something with a name.
type Fact struct{ Name, Value string }

// Beside is something that the verdict does not cover.
type Beside struct {
	N    int
	What string
	Why  string
	List []string // the first of them
}

// A Finding is one thing that is wrong, wherever it shows.
type Finding struct {
	Stage  string   // or a family of stages
	Where  string   // layers and steps
	Causes []string // with how much of the error each explains
	Notes  []string
	Why    string // it is accepted
	Run    int    // whose Cell shows it
	Cell   int    // -1 if none does
}

// A Checkpoint is one of the twelve.
type Checkpoint struct {
	Number            string // "" of a check before them
	Title             string
	Verdict           string // "pass", "fail", "not checked"
	Checks            int
	Worst             string // in words
	Engines           []CheckpointEngine
	Looks, Bound, Fix string // at what, within what, where to look
}

// A CheckpointEngine is what a checkpoint says of the goldens of one engine.
type CheckpointEngine struct {
	Engine, Verdict string
	Checks          int
	Worst           string
}

// A Summary is the worst of a family of stages.
type Summary struct {
	Stage    string
	Compared int
	Outside  int
	Share    Num
	At       string
}

// A Row is one tensor outside its bound.
type Row struct {
	Run, Place  string
	Status, Own string
	Error       Num
	Share       Num
	Wrong, Of   int
}

// A Run is a dump with all that it was compared with. Its cells are stages at steps: cell i
// is of Steps[i/len(Stages)] and Stages[i%len(Stages)].
type Run struct {
	Name   string  `json:"name"` // of the case; "" where there is one run
	Steps  []Step  `json:"steps"`
	Stages []Stage `json:"stages,omitempty"` // left out where they are those of the run before
	Layers []Layer `json:"layers"`

	// Marks has a character for each cell, what a replay says of the stage's own
	// computation: one of the Mark constants.
	Marks Cells `json:"marks"`

	// Accepted has an 'a' for each cell whose failure is passed over; "" if none is.
	Accepted Cells `json:"accepted,omitempty"`

	Grown []Num `json:"grown,omitempty"` // by how much the stage amplified the error that it read

	Cards  []Card  `json:"cards"`
	Growth *Growth `json:"growth,omitempty"`
	Tokens []Token `json:"-"`
	Start  int     `json:"start"` // the cell that is opened first
}

// Candidate is the name of the run that is judged among the Distances of a card.
const Candidate = "this run"

// What a replay says of a cell.
const (
	MarkNone      = ' '
	MarkClean     = '=' // correct for its inputs
	MarkWrong     = '!' // its own computation is wrong
	MarkUnused    = 'u' // wrong, and what reads it follows from the right one
	MarkInherited = 'i' // outside its bound, and correct for its inputs
	MarkUnknown   = '?' // cannot be judged
)

// A Step is one step of a run.
type Step struct {
	N     int    `json:"n"`
	Label string `json:"label"`
}

// A Stage is one stage of all steps.
type Stage struct {
	Name       string `json:"name"`
	Label      string `json:"label"`           // short
	Block      int    `json:"block"`           // -1 before the blocks, -2 after them
	Column     int    `json:"column"`          // within the blocks
	Reads      []int  `json:"reads,omitempty"` // indices of the stages that it reads in its step
	Checkpoint int    `json:"checkpoint,omitempty"`
	Bound      string `json:"bound"`
	Why        string `json:"why"` // the bound is as wide as it is
}

// A Layer is a run compared with one engine's golden, or with its own replay.
type Layer struct {
	Name   string `json:"name"`
	Replay bool   `json:"replay,omitempty"`

	// Status has a character for each cell, one of the Status constants.
	Status Cells `json:"status"`
	Share  []Num `json:"share"` // of the bound
	Error  []Num `json:"error"` // the largest
	Bound  []Num `json:"bound"` // where the error is worst; NaN where nothing is bounded
}

// Together is the name of the layer of several goldens, in which the verdict is.
const Together = "all goldens"

// The statuses of a cell.
const (
	StatusNone      = ' ' // nobody has it
	StatusPass      = 'p'
	StatusDoubt     = 'd' // passes, which says little
	StatusFail      = 'f'
	StatusCheck     = 'c' // fails the stage's own check alone
	StatusMissing   = 'm'
	StatusShape     = 's'
	StatusNonfinite = 'n'
	StatusSkipped   = 'k' // cannot be compared, or judged
	StatusAlone     = 'g' // the run has it, and no golden of the layer
)

// A Card shows one cell from near.
type Card struct {
	Cell    int        `json:"cell"`
	Shape   string     `json:"shape"`
	Of      string     `json:"of,omitempty"` // which row of a batch the pictures are of
	Facts   []Fact     `json:"facts,omitempty"`
	Causes  []string   `json:"causes,omitempty"`
	Golden  *Picture   `json:"golden,omitempty"` // of the error against the golden
	Replay  *Picture   `json:"replay,omitempty"` // of the error of the stage's own computation
	Inputs  []Input    `json:"inputs,omitempty"`
	Engines []Distance `json:"engines,omitempty"` // from the reference, at this place
}

// An Input is what the stage of a card read.
type Input struct {
	Cell  int     `json:"cell"`
	Panel []Panel `json:"panels,omitempty"`
}

// A Distance is how far an engine is from the reference.
type Distance struct {
	Name  string `json:"name"`
	Share Num    `json:"share"`
	Error Num    `json:"error"`
}

// A Picture shows the error of a tensor.
type Picture struct {
	Against string   `json:"against"`
	Axes    []string `json:"axes"` // of the panels: down, across
	Panels  []Panel  `json:"panels"`
	Values  Values   `json:"values"`

	// Points are pairs of uint16, little-endian: want and got, scaled from
	// Low to High.
	Points Base64 `json:"points,omitempty"`
	Low    Num    `json:"low"`
	High   Num    `json:"high"`

	// Counts are of elements by the logarithm of their error over the bound, as Bin has it.
	Counts []int `json:"counts"`
}

// Cells has a character for each cell of a run.
type Cells string

// Base64 is bytes in base64, which a page holds as they are.
type Base64 string

// A Panel is part of a tensor as a picture, made smaller if need be: of the elements that
// fall on one dot the worst is shown.
type Panel struct {
	Label string `json:"label,omitempty"`
	Rows  int    `json:"rows"`
	Cols  int    `json:"cols"`
	Down  string `json:"down"`   // the range of the rows in the tensor
	Along string `json:"along"`  // and of the columns
	Dots  Base64 `json:"pixels"` // Rows*Cols bytes, each a Level
}

// Values are what lies around the worst element.
type Values struct {
	Head []string   `json:"head,omitempty"`
	Rows [][]string `json:"rows,omitempty"` // a label, then a cell for each column
	At   int        `json:"at"`             // the column of the worst
	// Where says in words which element the worst is.
	Where string `json:"where,omitempty"`
}

// Growth is the error of the residual stream along the depth.
type Growth struct {
	Stages []string `json:"stages"`
	Lines  []Line   `json:"lines"` // one for each step
	Bound  []Num    `json:"bound"`
}

// A Line is the relative error at each stage of one step, 0 where it is not known and infinite
// where a value is NaN or infinite.
type Line struct {
	Step   int   `json:"step"`
	Errors []Num `json:"errors"`
}

// A Token is what was chosen in a step.
type Token struct {
	Step   int    `json:"step"`
	Row    int    `json:"row"`
	Got    string `json:"got"`  // as text; "" if it is not known
	Want   string `json:"want"` // the golden's
	Same   bool   `json:"same"`
	Parts  bool   `json:"parts"`  // the first of its row that is not the same
	Margin Num    `json:"margin"` // of the golden's logits
	Slack  Num    `json:"slack"`  // what the margin must exceed to be certain
	Note   string `json:"note"`   // certified, or why not
}

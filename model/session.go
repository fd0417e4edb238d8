package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"checkpoint12/model/internal/kernel"
	"checkpoint12/model/memory"
)

// Tap is called with every stage of every step, in the order of StageNames. data is
// the live buffer: a tap that writes there changes the stages that follow; one that
// keeps the values copies them. next_token comes as ids in float32, which are exact.
type Tap = func(stage string, shape []int, data []float32)

// SessionOptions are the settings of a session; all may be zero.
type SessionOptions struct {
	Batch        int       // B: rows; 0 is 1
	Length       int       // positions that the cache has room for; 0 is n_positions
	Temperatures []float64 // probs_t is tapped for each
	Threads      int       // goroutines that compute; 0 is GOMAXPROCS
	Tap          Tap       // sees every stage; nil costs nothing

	// Mask, if set, is for each row 1 where what is fed is a token, and 0 where it is
	// padding; what comes after it is tokens. A row without a token in a step has NaN for
	// logits there, and chooses -1.
	Mask [][]int
}

// Session is a run over one batch, with its cache, for one goroutine at a time.
type Session struct {
	m      *Model
	o      SessionOptions
	call   call      // the stage being computed; holds B, T and P between stages
	steps  []step    // the forward pass, with its buffers
	fitted []*buffer // the buffers whose size follows T and P
	tokens *buffer   // [B,T] ids
	pos    *buffer   // [1] P
	last   *buffer   // [B,V] logits_last
	choice *buffer   // [B] next_token
	next   []int     // [B]
	busy   sync.Mutex
}

// buffer is an array that is made anew only when it must grow.
type buffer struct {
	shape  shape // nil if the size is fixed
	values []float32
}

// step is a stage of the session and its buffers.
type step struct {
	placed
	in    []*buffer
	out   *buffer
	block *block
	cache *buffer // of a cache stage, what the next step begins with
}

// NewSession starts a session with an empty cache.
func (m *Model) NewSession(o SessionOptions) (*Session, error) {
	if m.closed.Load() {
		return nil, errClosed
	}
	if m.blocks == nil {
		return nil, errNoWeights
	}
	if err := kernel.Chosen(); err != nil {
		return nil, err
	}
	o.Batch, o.Length = cmp.Or(o.Batch, 1), cmp.Or(o.Length, m.cfg.Positions)
	if err := (Dims{B: o.Batch, T: 1, P: o.Length - 1}).check(m.cfg); err != nil {
		return nil, fmt.Errorf("batch of %d, length of %d: %w", o.Batch, o.Length, err)
	}
	for _, t := range o.Temperatures {
		if !(t > 0) || math.IsInf(t, 0) {
			return nil, fmt.Errorf("temperature %v: want a finite number above 0", t)
		}
	}
	if err := checkMask(o.Mask, o.Batch); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(o.Mask, func(row []int) bool { return slices.Contains(row, 0) }) {
		o.Mask = nil
	}
	scores := 0
	if o.Tap == nil {
		scores = o.Batch * m.cfg.Heads * min(attendRows, o.Length) * o.Length
	}
	if err := memory.Room(4 * (2*m.cfg.Layers*o.Batch*o.Length*m.cfg.Embd + scores)); err != nil {
		return nil, fmt.Errorf("cache of %d rows and %d positions: %w", o.Batch, o.Length, err)
	}
	s := &Session{m: m, o: o, next: make([]int, o.Batch)}
	s.call = call{m: m, pool: kernel.NewPool(o.Threads), Dims: Dims{B: o.Batch}, prev: o.Length, stride: o.Length}
	s.call.last, s.call.scratch = make([]float32, o.Batch*m.cfg.Embd), make([]float32, scores)
	s.connect()
	return s, nil
}

// Pad returns rows of unequal length padded with an id to the longest, and their mask, nil
// if they are of equal length. Padding stands before a row's tokens or, on the right, after them.
func Pad(rows [][]int, id int, right bool) (padded, mask [][]int) {
	most, equal := 0, true
	for _, row := range rows {
		equal = equal && len(row) == len(rows[0])
		most = max(most, len(row))
	}
	if equal {
		return rows, nil
	}
	for _, row := range rows {
		n := most - len(row)
		pads, ones := slices.Repeat([]int{id}, n), slices.Repeat([]int{1}, len(row))
		if right {
			padded, mask = append(padded, slices.Concat(row, pads)), append(mask, slices.Concat(ones, make([]int, n)))
		} else {
			padded, mask = append(padded, slices.Concat(pads, row)), append(mask, slices.Concat(make([]int, n), ones))
		}
	}
	return padded, mask
}

// checkMask returns an error for a mask that is not a batch's.
func checkMask(mask [][]int, batch int) error {
	if mask != nil && len(mask) != batch {
		return fmt.Errorf("mask of %d rows for a batch of %d", len(mask), batch)
	}
	for b, row := range mask {
		if slices.ContainsFunc(row, func(one int) bool { return one != 0 && one != 1 }) {
			return fmt.Errorf("mask: row %d has something else than 0 and 1", b)
		}
	}
	return nil
}

// columns returns which of the S columns of each row are tokens; nil if all are.
func (s *Session) columns(S int) (tokens []bool) {
	for _, row := range s.o.Mask {
		for column := range S {
			tokens = append(tokens, column >= len(row) || row[column] == 1)
		}
	}
	return tokens
}

// connect lays out the forward pass: each stage gets one buffer, which layers share.
func (s *Session) connect() {
	m, tapped := s.m, s.o.Tap != nil
	block, head, temperatures := blockStages, headStages, s.o.Temperatures
	if !tapped {
		block, head, temperatures = untappedBlock, untappedHead, nil
	}
	byName := map[string]*buffer{}
	shared := map[string]*buffer{} // by name in the table
	fit := func(of shape) *buffer {
		b := &buffer{shape: of}
		s.fitted = append(s.fitted, b)
		return b
	}
	s.tokens, s.pos = fit(parseShape(inputs["tokens"])), fit(parseShape(inputs["pos"]))
	byName["tokens"], byName["pos"] = s.tokens, s.pos
	for _, p := range plan(m.cfg, block, head, temperatures) {
		st := step{placed: p}
		if p.layer >= 0 {
			st.block = &m.blocks[p.layer]
		}
		st.shape = Dims{Mask: s.columns(1)}.shapeOf(p.name, p.axes)
		if p.axes == "B H S D" { // room for [B,H,Length,D]
			st.cache = &buffer{values: make([]float32, s.o.Batch*s.o.Length*m.cfg.Embd)}
			byName["prev:"+p.name] = st.cache
		}
		if st.cache != nil && !tapped {
			st.out = st.cache
		} else {
			if shared[p.stage.name] == nil {
				shared[p.stage.name] = fit(st.shape)
			}
			st.out = shared[p.stage.name]
		}
		byName[p.name] = st.out
		for _, name := range p.inputs {
			st.in = append(st.in, byName[name])
		}
		s.steps = append(s.steps, st)
	}
	s.last, s.choice = byName["logits_last"], byName["next_token"]
}

// Pos returns the number of positions in the cache, where the next Step starts.
func (s *Session) Pos() int { return s.call.P }

// LogitsLast returns the last logits [B,V]: the live buffer, valid until the next Step.
func (s *Session) LogitsLast() []float32 { return s.last.values }

// ErrTooLong is wrapped by the error of a Step past the session's length.
var ErrTooLong = errors.New("sequence too long")

// Step feeds T = len(tokens)/B tokens to each row, B rows one after the other, and
// returns the most probable next token of each, -1 where logits are NaN or a tap
// wrote something that is no id. The result is valid until the next Step. After an
// error the session is as it was.
func (s *Session) Step(tokens []int) ([]int, error) {
	if !s.busy.TryLock() {
		return nil, errors.New("the session is computing a step: use one session for each goroutine")
	}
	defer s.busy.Unlock()
	if err := s.begin(tokens); err != nil {
		return nil, err
	}
	s.forward()
	for b := range s.next {
		s.next[b] = -1
		if id := s.choice.values[b]; isIndex(id, s.m.cfg.Vocab) {
			s.next[b] = int(id)
		}
	}
	s.call.P += s.call.T
	return s.next, nil
}

// begin checks the tokens and sizes the buffers for them.
func (s *Session) begin(tokens []int) error {
	c, cfg := &s.call, s.m.cfg
	switch {
	case s.m.closed.Load():
		return errClosed
	case len(tokens) == 0:
		return errors.New("no tokens: want one or more for each row")
	case len(tokens)%c.B != 0:
		return fmt.Errorf("%d tokens do not divide into a batch of %d rows of equal length", len(tokens), c.B)
	}
	T := len(tokens) / c.B
	if T > s.o.Length-c.P {
		return fmt.Errorf("%w: %d new positions after %d, with room for %d (n_positions is %d)",
			ErrTooLong, T, c.P, s.o.Length, cfg.Positions)
	}
	for i, id := range tokens {
		if id < 0 || id >= cfg.Vocab {
			return fmt.Errorf("token id %d (row %d, position %d) is outside the vocabulary of %d",
				id, i/T, c.P+i%T, cfg.Vocab)
		}
	}
	c.T, c.Mask = T, s.columns(c.P+T)
	room := Dims{B: c.B, T: T, P: s.o.Length - T} // up to the last position, not only to this one
	grown := 0
	for _, b := range s.fitted {
		if cap(b.values) < b.shape.elements(cfg, c.Dims) {
			grown += b.shape.elements(cfg, room)
		}
	}
	if err := memory.Room(4 * grown); err != nil {
		return fmt.Errorf("step of B=%d, T=%d, P=%d: %w", c.B, T, c.P, err)
	}
	for _, b := range s.fitted {
		n := b.shape.elements(cfg, c.Dims)
		if cap(b.values) < n {
			b.values = make([]float32, b.shape.elements(cfg, room))
		}
		b.values = b.values[:n]
	}
	for i, id := range tokens {
		s.tokens.values[i] = float32(id)
	}
	s.pos.values[0] = float32(c.P)
	return nil
}

// WithoutWeights returns a model on which only Apply works, for stages without weights.
func WithoutWeights(cfg Config) *Model {
	return &Model{cfg: cfg, sha256: func() (string, error) { return "", errNoWeights }}
}

// NeedsWeights reports whether a stage is computed with weights.
func NeedsWeights(stage string) bool {
	s, _ := ParseStage(stage)
	return weighted[s.Kind()]
}

// weighted are the kinds of stages that are computed with weights.
var weighted = func() map[string]bool {
	kinds := map[string]bool{"logits": true}
	for name := range (Config{Layers: 1}).Weights() {
		if s, ok := ParseStage(strings.TrimSuffix(name, ".weight")); ok {
			kinds[s.Kind()] = true
		}
	}
	return kinds
}()

var errNoWeights = errors.New("the model has no weights")

// Apply computes one stage on its own, by the function that the forward pass uses,
// and writes it to out. in returns the values of an input that Reads names, in the
// shape that Shape gives it. It is safe for concurrent use.
func (m *Model) Apply(stage string, d Dims, in func(name string) []float32, out []float32) error {
	if m.closed.Load() {
		return errClosed
	}
	p, err := find(m.cfg, stage)
	if err != nil {
		return err
	}
	if m.blocks == nil && NeedsWeights(stage) {
		return fmt.Errorf("stage %s: %w", stage, errNoWeights)
	}
	if err := d.check(m.cfg); err != nil {
		return fmt.Errorf("stage %s: %w", stage, err)
	}
	c := call{Dims: d, m: m, layer: p.layer, temp: p.temp, out: out, prev: d.P, stride: d.P + d.T}
	if p.layer >= 0 && m.blocks != nil {
		c.block = &m.blocks[p.layer]
	}
	own := d.shapeOf(stage, p.axes)
	if want := own.elements(m.cfg, d); len(out) != want {
		return fmt.Errorf("stage %s: room for %d values: want %d, %v", stage, len(out), want, own.of(m.cfg, d))
	}
	for i, name := range p.inputs {
		x, shape := in(name), d.shapeOf(name, Axes(name))
		if want := shape.elements(m.cfg, d); len(x) != want {
			return fmt.Errorf("stage %s reads %s: got %d values: want %d, %v",
				stage, name, len(x), want, shape.of(m.cfg, d))
		}
		// Ids and positions index tables.
		if name == "pos" && !isIndex(x[0], m.cfg.Positions-d.T+1) {
			return fmt.Errorf("stage %s: position %v with %d new ones: n_positions is %d",
				stage, x[0], d.T, m.cfg.Positions)
		}
		noToken := func(id float32) bool { return !isIndex(id, m.cfg.Vocab) }
		if name == "tokens" && slices.ContainsFunc(x, noToken) {
			return fmt.Errorf("stage %s: token id %v is outside the vocabulary of %d",
				stage, x[slices.IndexFunc(x, noToken)], m.cfg.Vocab)
		}
		c.in[i] = x
	}
	m.applying.Lock()
	defer m.applying.Unlock()
	if m.applyPool == nil {
		m.applyPool = kernel.NewPool(0)
	}
	c.pool = m.applyPool
	p.run(&c)
	return nil
}

// isIndex reports whether f is a whole number from 0 to n-1.
func isIndex(f float32, n int) bool {
	return f >= 0 && float64(f) < float64(n) && math.Trunc(float64(f)) == float64(f)
}

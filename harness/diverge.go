package harness

// firstDivergence is the place of the first row that diverges. The rows are by
// step and in execution order, so the first is the earliest.
func firstDivergence(rows []Row) *Place {
	for i := range rows {
		if rows[i].Status.Diverges() {
			p := rows[i].Place()
			return &p
		}
	}
	return nil
}

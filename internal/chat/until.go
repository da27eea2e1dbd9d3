package chat

// Until is the template, which renders nothing more once stop gives an error: one conversation is rendered up to four
// times a turn, and each rendering may take its whole budget. stop is called by many goroutines.
func (t *Template) Until(stop func() error) *Template {
	out := *t
	out.stop = stop
	return &out
}

# Names lines that are too long: more than 140 columns of code, 120 of comments and of prose in Markdown. A tab counts as
# one column, and a character as one however many bytes it has (run it with LC_ALL=C). Free are tables and code in
# Markdown, indented lines of a comment, tags of Go's fields, and what a raw string holds over several lines.
FNR == 1 { open = 0; fence = 0; markdown = FILENAME ~ /\.md$/ }
{ text = $0; gsub(/[\200-\277]/, "", text); limit = markdown || /^[ \t]*(\/\/|#) ?[^ \t]/ ? 120 : 140 }
markdown && /^ *```/ { fence = !fence }
markdown { free = fence || /^\|/ || /^    / }
!markdown {
	free = open || /^[ \t]*(\/\/|#)( *\t|   )/ || /`[a-z_]+:".*"`/
	if (FILENAME ~ /\.(go|js|mjs)$/ && !/^[ \t]*\/\// && gsub(/`/, "&") % 2) { open = !open; free = 1 }
}
!free && length(text) > limit { print FILENAME ":" FNR ": " length(text) " columns, at most " limit; long = 1 }
END { exit long }

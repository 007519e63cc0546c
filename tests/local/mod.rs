//! The program as its user meets it: commands, files, HTTP.

"""Real servers for tests: started on free ports, waited for by connecting, gone when the tests are."""

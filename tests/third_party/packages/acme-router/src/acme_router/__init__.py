"""Router that names the teacher by the unit that a prompt asks for."""
